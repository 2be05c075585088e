"""The search for shards that one input stands for: a file, a directory, a glob pattern, a stage's output."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.corpus_files import (
    DIRECTORY_SUFFIXES,
    SHARD_SUFFIXES,
    PassedOver,
    check_is_file,
    describe_passed_over,
    expand_pattern,
    kind_passed_over,
    list_directory,
    refuse_name,
)
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest
from pile_tools.formats.shard import Shard

__all__ = ["UNFINISHED_NAME", "Member", "Search"]

UNFINISHED_NAME = ".unfinished"
"""Name of the work folder in the output directory of a stage that has not ended."""

_CORPUS_STAGES = ("dedup", "demo")


@dataclass(frozen=True, slots=True)
class Member:
    """A shard that was found, and the directory that its name is relative to; None for a plain file."""

    shard: Shard
    base: Path | None


class _Stages:
    """Manifests of the directories that stages of ours made, each read once."""

    def __init__(self, leave_out: Path | None) -> None:
        self._leave_out = leave_out
        self._manifests: dict[Path, Manifest | None] = {}
        self._resolved: dict[Path, Path] = {}
        self._around: dict[Path, Path | None] = {}
        self._entries: dict[Path, dict[str, FileEntry]] = {}

    def resolve(self, path: Path) -> Path:
        """Resolve the links in ``path``, those of each folder once."""
        if path.is_symlink() or path.name in ("", ".."):
            return path.resolve()
        if path.parent not in self._resolved:
            self._resolved[path.parent] = path.parent.resolve()
        return self._resolved[path.parent] / path.name

    def manifest(self, directory: Path) -> Manifest | None:
        """Manifest of a directory that a stage made; None for any other directory."""
        resolved = directory.resolve()
        if resolved not in self._manifests:
            if (directory / UNFINISHED_NAME).exists():
                raise UnfinishedError(f"{directory}: unfinished; run the command that makes it again")
            self._manifests[resolved] = Manifest.find(directory)
        return self._manifests[resolved]

    def around(self, path: Path) -> tuple[Path, Manifest, str] | None:
        """The stage's directory that ``path`` is in, its manifest, and the path relative to it.

        The directory is given as a part of ``path`` where it is one, or else without links.
        """
        resolved = self.resolve(path)
        if resolved.parent not in self._around:
            others = (directory for directory in resolved.parents if directory != self._leave_out)
            made = next((directory for directory in others if self.manifest(directory) is not None), None)
            self._around[resolved.parent] = made
        directory = self._around[resolved.parent]
        manifest = None if directory is None else self._manifests[directory]
        if directory is None or manifest is None:
            return None
        inside = resolved.relative_to(directory)
        above = path.parents[len(inside.parts) - 1] if len(inside.parts) <= len(path.parents) else directory
        return above if above.resolve() == directory else directory, manifest, inside.as_posix()

    def entry(self, path: Path) -> tuple[Path, Manifest, FileEntry] | None:
        """What the manifest around ``path`` lists of it, after the stage's directory and that manifest."""
        stage = self.around(path)
        if stage is None:
            return None
        directory, manifest, name = stage
        if directory not in self._entries:
            self._entries[directory] = {entry.name: entry for entry in manifest.outputs}
        entry = self._entries[directory].get(name)
        return None if entry is None else (directory, manifest, entry)


def _listed(directory: Path, manifest: Manifest, entry: FileEntry) -> Shard:
    """The shard ``entry`` of a stage's output, which must be there with the length that is listed."""
    path = entry.path(directory)
    if not path.is_file():
        raise DataError(f"{path}: listed in {MANIFEST_NAME} but missing; make {directory} again")
    if path.stat().st_size != entry.bytes:
        raise DataError(
            f"{path}: {path.stat().st_size} bytes, but {MANIFEST_NAME} says {entry.bytes}; "
            f"make {directory} again"
        )
    return Shard(path, entry.name, manifest.identity, entry.sha256)


class Search:
    """A search for the shards of a corpus, which no file in the directory ``leave_out`` is a part of."""

    def __init__(self, leave_out: Path | None) -> None:
        self._leave_out = None if leave_out is None else leave_out.resolve()
        self._stages = _Stages(self._leave_out)
        self.passed_over: PassedOver = Counter()

    def find(self, name: str | os.PathLike[str]) -> list[Member]:
        """Find the shards that one input stands for."""
        path = Path(name)
        if path.is_dir():
            return self._directory(path)
        if not os.path.lexists(path):
            return self._pattern(os.fspath(name))
        check_is_file(path)
        if not path.name.endswith(SHARD_SUFFIXES):
            refuse_name(path)
        member = self._file(path)
        if member is None:
            stage = self._stages.around(path)
            maker = f" that `pile-tools {stage[1].stage}` made" if stage is not None else ""
            raise ParameterError(f"{path}: a table{maker}, not a shard")
        return [member]

    def _left_out(self, path: Path) -> bool:
        if self._leave_out is None:
            return False
        resolved = self._stages.resolve(path)
        return self._leave_out == resolved or self._leave_out in resolved.parents

    def _file(self, path: Path) -> Member | None:
        """The shard in a file that is named like one; None for a table of a stage."""
        listed = self._stages.entry(path)
        if listed is not None:
            directory, _, entry = listed
            return None if entry.documents is None else Member(_listed(*listed), directory)
        return Member(Shard(path, path.name), None)

    def _directory(self, directory: Path) -> list[Member]:
        # A directory that is asked for by name is read, even where it is in the one that is left out.
        leave_out = not self._left_out(directory)
        manifest = self._stages.manifest(directory)
        stage = (directory, manifest, ".") if manifest is not None else self._stages.around(directory)
        members = [] if stage is None else list(self._stage(*stage))
        if not members and manifest is None:
            members = list(self._search(directory, leave_out))
        if leave_out:
            members = [member for member in members if not self._left_out(member.shard.path)]
        if not members:
            others = describe_passed_over(self.passed_over)
            raise PileToolsError(
                f"{directory}: no shards in it; a directory is searched for {', '.join(DIRECTORY_SUFFIXES)}"
                + (f", and passes over files of other kinds ({others})" if others else "")
            )
        return members

    def _search(self, directory: Path, leave_out: bool) -> Iterator[Member]:
        """The shards in a directory that no stage made, named relative to it."""
        outputs: list[Path] = []

        def is_output(folder: Path) -> bool:
            if leave_out and self._left_out(folder):
                return True
            if self._stages.manifest(folder) is not None:
                outputs.append(folder)
                return True
            return False

        members = [self._file(path) for path in list_directory(directory, self.passed_over, is_output)]
        for folder in outputs:
            manifest = self._stages.manifest(folder)
            members += [] if manifest is None else self._stage(folder, manifest, ".")
        for member in members:
            if member is None:
                self.passed_over["table"] += 1
            else:
                name = member.shard.path.relative_to(directory).as_posix()
                yield Member(member.shard.called(name), directory)

    def _stage(self, directory: Path, manifest: Manifest, inside: str) -> Iterator[Member]:
        """The shards that a stage's manifest lists in its folder ``inside``, "." for all of them."""
        prefix = "" if inside == "." else f"{inside}/"
        entries = [entry for entry in manifest.outputs if entry.name.startswith(prefix)]
        if manifest.stage not in _CORPUS_STAGES:
            if prefix and not entries:
                return
            raise ParameterError(
                f"{directory}: the output of `pile-tools {manifest.stage}`, which is no corpus; "
                "give a directory of shards"
            )
        shards = [_listed(directory, manifest, entry) for entry in entries if entry.documents is not None]
        if shards or not prefix:
            self._refuse_unlisted(directory, {entry.name for entry in manifest.outputs}, inside)
        yield from (Member(shard, directory) for shard in shards)

    def _refuse_unlisted(self, directory: Path, listed: set[str], inside: str) -> None:
        """Raise PileToolsError for a file in a stage's output that is named like a shard and not listed."""
        for folder, folders, names in os.walk(directory / inside):
            below = Path(folder)
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".")
                and not self._left_out(below / name)
                and not (below / name / UNFINISHED_NAME).exists()
                and Manifest.find(below / name) is None
            ]
            for name in names:
                path = below / name
                if (
                    name.endswith(DIRECTORY_SUFFIXES)
                    and not name.startswith(".")
                    and path.relative_to(directory).as_posix() not in listed
                    and not self._left_out(path)
                ):
                    raise PileToolsError(
                        f"{path}: named like a shard, but {directory / MANIFEST_NAME} does not list it; move "
                        "it elsewhere, or name the shards by a pattern"
                    )

    def _pattern(self, pattern: str) -> list[Member]:
        """The shards among what matches: files, and directories as if they were named."""
        matches = [path for path in expand_pattern(pattern) if not self._left_out(path)]
        folders = [path for path in matches if path.is_dir()]
        members: list[Member] = []
        for path in matches:
            if path.is_dir():
                continue
            check_is_file(path)
            if path.name.endswith(SHARD_SUFFIXES):
                member = self._file(path)
                if member is None:
                    self.passed_over["table"] += 1
                else:
                    members.append(member)
            elif (kind := kind_passed_over(path.name)) is not None:
                self.passed_over[kind] += 1
            elif self._stages.around(path) is None:
                refuse_name(path)
        known = {member.shard.path for member in members}
        for folder in folders:
            # With "**" a folder matches beside the files and folders in it.
            if not any(other in folder.parents for other in folders):
                members += [m for m in self._directory(folder) if m.shard.path not in known]
        if not members:
            raise PileToolsError(
                f"{pattern}: no such file or directory, and no shard matches it as a pattern"
            )
        return members
