"""``parents/``: what a directory needs to know of those that it was made from, carried along with it.

    parents/IDENTITY/manifest.json      the manifest of an ancestor, byte for byte
    parents/IDENTITY/removed.parquet    of a `dedup` ancestor: shard and row of every record of its input
                                        that its output does not have, in corpus order

An ancestor's own ``parents/`` is carried too, so a directory that was copied to another machine still
knows the whole chain.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.errors import DataError, UnfinishedError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest
from pile_tools.formats.names import path_inside
from pile_tools.formats.sources import MissingFileError
from pile_tools.formats.store import LocalStore, Store

__all__ = ["PARENTS_NAME", "History", "carry_history", "carry_manifest", "check_carried"]

PARENTS_NAME: Final = "parents"
_REMOVED_NAME: Final = "removed.parquet"
# The tables of `dedup` that list records of its input, by shard and row.
_DEDUP_TABLES: Final = ("dedup.parquet", "skipped.parquet")
_REMOVED_SCHEMA: Final = pa.schema(
    [pa.field("shard", pa.string(), nullable=False), pa.field("row", pa.int64(), nullable=False)]
)
_GROUP_ROWS: Final = 1 << 20


def carry_history(shards: Iterable[Shard], output: Path) -> list[str]:
    """Write ``parents/`` of the directory ``output`` for the stages' outputs that ``shards`` are from.

    Returns the names of the files, relative to ``output``; none where no shard is from a stage. Raises
    DataError where an ancestor has changed since the shards were listed.
    """
    directories = {shard.parent: shard.parent_directory for shard in shards if shard.parent}
    names: set[str] = set()
    for identity, directory in sorted(directories.items()):
        manifest = Manifest.read(directory)
        if manifest.identity != identity:
            raise DataError(f"{directory / MANIFEST_NAME}: changed meanwhile; run the command again")
        names.add(_write(output, identity, MANIFEST_NAME, manifest.to_bytes()))
        if manifest.stage == "dedup":
            names.add(_write_removed(output, identity, directory, manifest))
        names |= _carry_further(output, LocalStore(directory), manifest)
    return sorted(names)


def carry_manifest(store: Store, manifest: Manifest, output: Path) -> list[str]:
    """Write ``parents/`` of the directory ``output`` for ``manifest`` of the directory ``store``.

    Returns the names of the files, relative to ``output``. Raises DataError where what ``store`` carries of
    its own ancestors has changed.
    """
    names = {_write(output, manifest.identity, MANIFEST_NAME, manifest.to_bytes())}
    return sorted(names | _carry_further(output, store, manifest))


def check_carried(store: Store, manifest: Manifest) -> None:
    """Raise DataError where a file of its ancestors that ``manifest`` of ``store`` lists is missing there."""
    for entry in manifest.outputs:
        if entry.name.startswith(f"{PARENTS_NAME}/"):
            try:
                store.open(entry.name, entry.bytes)
            except MissingFileError:
                raise DataError(f"{store.name}/{entry.name}: missing; copy {PARENTS_NAME}/ too") from None


def _write(output: Path, identity: str, name: str, content: bytes) -> str:
    path = path_inside(output, f"{PARENTS_NAME}/{identity}/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(content)
    return path.relative_to(output).as_posix()


def _carry_further(output: Path, store: Store, manifest: Manifest) -> set[str]:
    names = set()
    for entry in manifest.outputs:
        folder, _, rest = entry.name.partition("/")
        if folder == PARENTS_NAME:
            if store.path is not None:
                entry.path(store.path)
            content = store.read(entry.name)
            if content is None or hashlib.sha256(content).hexdigest() != entry.sha256:
                raise DataError(f"{store.name}/{entry.name}: missing or damaged; make {store.name} again")
            identity, _, name = rest.partition("/")
            names.add(_write(output, identity, name, content))
    return names


def _write_removed(output: Path, identity: str, directory: Path, manifest: Manifest) -> str:
    path = output / PARENTS_NAME / identity / _REMOVED_NAME
    tables = [entry.path(directory) for entry in manifest.outputs if entry.name in _DEDUP_TABLES]
    with (
        atomic_write(path) as file,
        pq.ParquetWriter(
            file,
            _REMOVED_SCHEMA,
            compression="zstd",
            use_dictionary=["shard"],
            column_encoding={"row": "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        ) as writer,
    ):
        for entry in manifest.inputs:
            rows = np.unique(np.concatenate([np.empty(0, np.int64), *_rows_of(tables, entry.name)]))
            for start in range(0, len(rows), _GROUP_ROWS):
                part = rows[start : start + _GROUP_ROWS]
                shards = pa.array([entry.name], pa.string()).take(pa.array(np.zeros(len(part), np.int32)))
                writer.write_table(pa.Table.from_arrays([shards, pa.array(part)], schema=_REMOVED_SCHEMA))
    return path.relative_to(output).as_posix()


def _rows_of(tables: Iterable[Path | pa.BufferReader], shard: str) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of ``shard`` in each table; the statistics of row groups keep the others unread."""
    for table in tables:
        try:
            found = pq.read_table(
                table, columns=["row"], filters=[("shard", "==", shard)], page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            reason = str(error).split("\n")[0]
            raise DataError(f"{table}: not readable ({reason}); make it again") from None
        yield found.column("row").to_numpy().astype(np.int64)


@dataclass(frozen=True, eq=False)
class History:
    """The manifest of a directory, here or behind a URL, and those of its ancestors by identity."""

    store: Store
    own: Manifest
    ancestors: dict[str, Manifest]
    _removed: dict[tuple[str, str], npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, store: Store) -> Self:
        """Read ``manifest.json`` and ``parents/``; DataError where an ancestor is not what it is called.

        Raises UnfinishedError where there is no manifest.
        """
        if store.path is not None:
            own = Manifest.read(store.path)
        else:
            found = _manifest(store, MANIFEST_NAME)
            if found is None:
                raise UnfinishedError(f"{store.name}/{MANIFEST_NAME}: missing; its history is not known")
            own = found
        return cls._of(store, own)

    @classmethod
    def of_ancestor(cls, store: Store, identity: str) -> Self:
        """Return the history of the ancestor ``identity``, of which ``store`` carries the manifest."""
        own = _ancestor(store, identity)
        if own is None:
            name = f"{store.name}/{PARENTS_NAME}/{identity}/{MANIFEST_NAME}"
            raise DataError(f"{name}: missing; copy it too, or make its directory again")
        return cls._of(store, own)

    @classmethod
    def _of(cls, store: Store, own: Manifest) -> Self:
        ancestors: dict[str, Manifest] = {}
        todo = list(own.parents)
        while todo:
            identity = todo.pop()
            manifest = None if identity in ancestors else _ancestor(store, identity)
            if manifest is not None:
                ancestors[identity] = manifest
                todo += manifest.parents
        return cls(store, own, ancestors)

    def maker_of(self, manifest: Manifest, shard: str) -> tuple[Manifest, str] | None:
        """Return the ancestor whose output the input ``shard`` of ``manifest`` is, and its name there.

        None where none is known.

        Raises DataError where ``manifest`` has no such input.
        """
        entry = next((entry for entry in manifest.inputs if entry.name == shard), None)
        if entry is None:
            raise DataError(f"{self.store.name}: no shard {shard!r} among the inputs of its {manifest.stage}")
        name = entry.parent_name or shard
        for identity in manifest.parents if entry.parent is None else (entry.parent,):
            maker = self.ancestors.get(identity)
            if maker and any((out.name, out.sha256) == (name, entry.sha256) for out in maker.outputs):
                return maker, name
        return None

    def removed(self, identity: str, shard: str) -> npt.NDArray[np.int64]:
        """Return the rows of the input ``shard`` that the `dedup` ancestor ``identity`` left out, sorted."""
        key = (identity, shard)
        if key not in self._removed:
            name = f"{PARENTS_NAME}/{identity}/{_REMOVED_NAME}"
            content = self.store.read(name)
            if content is None:
                raise DataError(f"{self.store.name}/{name}: missing; copy or make the dataset again")
            self._removed[key] = next(_rows_of([pa.BufferReader(content)], shard))
        return self._removed[key]


def _ancestor(store: Store, identity: str) -> Manifest | None:
    """Read the manifest of an ancestor; None where it is not carried, DataError where it is another."""
    name = f"{PARENTS_NAME}/{identity}/{MANIFEST_NAME}"
    manifest = _manifest(store, name)
    if manifest is not None and manifest.identity != identity:
        raise DataError(f"{store.name}/{name}: not the manifest of {identity[:12]}…; it was changed")
    return manifest


def _manifest(store: Store, name: str) -> Manifest | None:
    content = store.read(name)
    return None if content is None else Manifest.parse(content, f"{store.name}/{name}")
