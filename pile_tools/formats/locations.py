"""``locations.json``: where the shards lay when a directory was made from them, relative to it.

A hint for finding a document's source again, and no part of the manifest: what is found there counts
only if its content is the right one.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import orjson

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard, list_shards
from pile_tools.formats.manifest import FileEntry, canonical_json
from pile_tools.formats.names import check_name
from pile_tools.formats.store import LocalStore, Store

__all__ = ["LOCATIONS_NAME", "ShardFinder", "move_locations", "parse_locations", "write_locations"]

LOCATIONS_NAME: Final = "locations.json"


def write_locations(shards: Iterable[Shard], directory: Path) -> None:
    """Write the hint into ``directory``."""
    base = directory.resolve()
    paths = {shard.name: os.path.relpath(shard.path.resolve(), base) for shard in shards}
    with atomic_write(directory / LOCATIONS_NAME) as file:
        file.write(canonical_json(paths))


def move_locations(source: Path, target: Path) -> None:
    """Write the hint of ``source``, if it has one, as it reads from ``target``."""
    base = target.resolve()
    hints = _read(LocalStore(source))
    if hints:
        paths = {name: os.path.relpath((source / hint).resolve(), base) for name, hint in hints.items()}
        with atomic_write(target / LOCATIONS_NAME) as file:
            file.write(canonical_json(paths))


def _read(store: Store) -> dict[str, str]:
    content = store.read(LOCATIONS_NAME) if store.path is not None else None
    return {} if content is None else parse_locations(content, f"{store.name}/{LOCATIONS_NAME}")


def parse_locations(content: bytes, name: str) -> dict[str, str]:
    """Return the locations of shards by their names that the bytes of the file ``name`` hold.

    A location may be anywhere and is only read from. Raises DataError for content of another form and for a
    shard's name that could not be one.
    """
    try:
        hints: dict[str, str] = orjson.loads(content)
        if not all(isinstance(location, str) and "\0" not in location for location in hints.values()):
            raise TypeError("a location is a path")
    except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise DataError(
            f"{name}: not {{name: location}} ({error}); remove it and name the corpus instead"
        ) from None
    for shard in hints:
        check_name(shard, name)
    return hints


class ShardFinder:
    """Find shards by name: in the corpora given, or else where the directory ``store`` says that they lay."""

    def __init__(self, store: Store, corpora: Sequence[str | os.PathLike[str]] = ()) -> None:
        self._directory = store.path or Path()
        given = list_shards(corpora) if corpora else []
        self._given = {shard.name: shard for shard in given}
        # One output of several that were tokenized together has the names of its own manifest.
        self._by_content = {shard.sha256: shard for shard in given if shard.sha256 is not None}
        self._hints = _read(store)

    def find(self, entry: FileEntry) -> Shard:
        """Return the shard that ``entry`` describes.

        Raises PileToolsError where it is not found and DataError where its length is another.
        """
        if self._given:
            shard = self._given.get(entry.name) or self._by_content.get(entry.sha256)
            if shard is None:
                raise PileToolsError(
                    f"{entry.name}: not among the {len(self._given)} shards of the corpus given"
                )
        else:
            hint = self._hints.get(entry.name)
            shard = None if hint is None else Shard(self._directory / hint, entry.name)
            if shard is None or not shard.path.is_file():
                where = f" at {self._directory / hint}" if hint is not None else ""
                raise PileToolsError(f"{entry.name}: no longer{where}; name the corpus with `--corpus`")
        size = shard.path.stat().st_size
        if size != entry.bytes:
            raise DataError(
                f"{shard.path}: {size} bytes, but the shard that was tokenized had {entry.bytes}; "
                "name the right corpus with `--corpus`"
            )
        return shard
