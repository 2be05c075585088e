"""``locations.json``: where the shards were when a directory was made from them, relative to it.

A hint for finding a document's source again, and no part of the manifest: what is there now counts
only if its content is the right one. `pile-tools dedup` called the file ``inputs.json`` up to version
0.1.0, which is still read.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pile_tools.corpus.shards import Shard, list_shards
from pile_tools.errors import MismatchError, MissingFileError
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FileEntry, canonical_json
from pile_tools.storage.records import file_name, location, mapping, read_json
from pile_tools.storage.store import LocalStore, Store

__all__ = [
    "INPUTS_NAME",
    "LOCATIONS_NAME",
    "ShardFinder",
    "move_locations",
    "parse_locations",
    "read_locations",
    "write_locations",
]

LOCATIONS_NAME: Final = "locations.json"
INPUTS_NAME: Final = "inputs.json"
"""The former name of the file in the output of `pile-tools dedup`."""


def write_locations(shards: Iterable[Shard], directory: Path) -> None:
    """Write the hint into ``directory``."""
    _write({shard.name: shard.path.resolve() for shard in shards}, directory)


def move_locations(source: Path, target: Path) -> None:
    """Write the hint of ``source``, if it has one, as it reads from ``target``."""
    locations = read_locations(LocalStore(source))
    if locations:
        _write(locations, target)


def _write(locations: Mapping[str, Path], directory: Path) -> None:
    base = directory.resolve()
    paths = {name: os.path.relpath(path, base) for name, path in locations.items()}
    with atomic_write(directory / LOCATIONS_NAME) as file:
        file.write(canonical_json(paths))


def read_locations(store: Store) -> dict[str, Path]:
    """Return where the shards that ``store`` was made from were, by name; none where it does not say."""
    if store.path is None:
        return {}
    # The paths in the former file led from the directory as it was named, links in its name included.
    for name, base in ((LOCATIONS_NAME, store.path.resolve()), (INPUTS_NAME, store.path)):
        content = store.read(name)
        if content is not None:
            hints = parse_locations(content, f"{store.name}/{name}")
            return {shard: Path(os.path.normpath(base / hint)) for shard, hint in hints.items()}
    return {}


def parse_locations(content: bytes, name: str) -> dict[str, str]:
    """Return the locations of shards by their names that the bytes of the file ``name`` hold.

    A location may be anywhere and is only read from. Raises DataError for content of another form and for a
    shard's name that could not be one.
    """
    kind = mapping(file_name(), location())
    hints: dict[str, str] = read_json(
        content, name, kind, "{name: location}", "remove it and name the corpus instead"
    )
    return hints


class ShardFinder:
    """Find shards by name: in ``corpora``, or else where the directory ``store`` says that they were."""

    def __init__(
        self, store: Store, corpora: Sequence[str | os.PathLike[str]] = (), text_field: str = "text"
    ) -> None:
        shards = list_shards(corpora, text_field=text_field) if corpora else []
        self._by_name = {shard.name: shard for shard in shards}
        # One output of several that were tokenized together has the names of its own manifest.
        self._by_content = {shard.sha256: shard for shard in shards if shard.sha256 is not None}
        self._locations = {} if corpora else read_locations(store)

    def find(self, entry: FileEntry) -> Shard:
        """Return the shard that ``entry`` describes.

        Raises MissingFileError where it is not found and DataError where its length is another.
        """
        if self._by_name:
            shard = self._by_name.get(entry.name) or self._by_content.get(entry.sha256)
            if shard is None:
                raise MissingFileError(
                    f"{entry.name}: not among the {len(self._by_name)} shards of the corpus given"
                )
        else:
            path = self._locations.get(entry.name)
            shard = None if path is None else Shard(path, entry.name)
            if shard is None or not shard.path.is_file():
                where = f" at {path}" if path is not None else ""
                raise MissingFileError(f"{entry.name}: no longer{where}; name the corpus with `--corpus`")
        size = shard.path.stat().st_size
        if size != entry.bytes:
            raise MismatchError(
                f"{shard.path}: {size} bytes, but the shard that was tokenized had {entry.bytes}; "
                "name the right corpus with `--corpus`"
            )
        return shard
