"""One shard of a corpus: a file of documents, its name, and the stage that made it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pile_tools.formats.corpus_files import SHARD_SUFFIXES
from pile_tools.formats.manifest import FileEntry

__all__ = ["Shard", "natural_key", "with_parents"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of documents: where it is, its name (relative, "/" between parts), its format.

    Where a stage of ours made it, ``parent`` is the identity of the manifest that lists it,
    ``parent_name`` its name there (None where that is ``name``), and ``sha256`` what that manifest says
    of its content.
    """

    path: Path
    name: str
    parent: str | None = None
    sha256: str | None = None
    parent_name: str | None = None

    @property
    def format(self) -> str:
        """The suffix of ``SHARD_SUFFIXES`` that the name ends with."""
        return next(suffix for suffix in SHARD_SUFFIXES if self.name.endswith(suffix))

    @property
    def parent_directory(self) -> Path:
        """The output directory of the stage that made the shard."""
        return self.path.parents[(self.parent_name or self.name).count("/")]

    def called(self, name: str) -> "Shard":
        """The same shard under another name."""
        parent_name = None if self.parent is None else self.parent_name or self.name
        return replace(self, name=name, parent_name=None if parent_name == name else parent_name)


def natural_key(name: str) -> tuple[tuple[tuple[int, int | str], ...], ...]:
    """Sort key that puts "2" before "10" and a folder's files together."""
    return tuple(
        tuple(
            (0, int(part)) if part.isdecimal() else (1, part)
            for part in re.split(r"([0-9]+)", folder)
            if part
        )
        for folder in name.split("/")
    )


def with_parents(entries: Iterable[FileEntry], shards: Sequence[Shard]) -> list[FileEntry]:
    """Say of each input which stage's output it is, where its name alone does not: of several, or renamed."""
    several = len({shard.parent for shard in shards if shard.parent is not None}) > 1
    parents = {
        shard.name: (shard.parent, shard.parent_name or shard.name)
        for shard in shards
        if shard.parent is not None and (several or shard.parent_name is not None)
    }
    return [
        replace(entry, parent=parents[entry.name][0], parent_name=parents[entry.name][1])
        if entry.name in parents
        else entry
        for entry in entries
    ]
