"""A corpus: the shards that inputs stand for, under the names by which outputs and tables call them."""

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.manifest import MANIFEST_NAME, FileEntry, Manifest
from pile_tools.formats.names import name_problem

__all__ = ["SHARD_SUFFIXES", "UNFINISHED_NAME", "Shard", "list_shards", "natural_key"]

SHARD_SUFFIXES = (".jsonl.zst", ".jsonl.gz", ".jsonl", ".parquet", ".txt")
"""What a shard's name ends with. A ``.txt`` file is one document."""

UNFINISHED_NAME = ".unfinished"
"""Name of the work folder in the output directory of a stage that has not ended."""

_CORPUS_STAGES = ("dedup", "demo")

# A directory of shards often holds a README.txt too: text files must be asked for by name or pattern.
_DIRECTORY_SUFFIXES = SHARD_SUFFIXES[:-1]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of documents: where it is, its name (relative, "/" between parts), its format.

    Where a stage of ours made it, ``parent`` is the identity of the manifest that lists it and
    ``sha256`` what that manifest says of its content.
    """

    path: Path
    name: str
    parent: str | None = None
    sha256: str | None = None

    @property
    def format(self) -> str:
        """The suffix of ``SHARD_SUFFIXES`` that the name ends with."""
        return next(suffix for suffix in SHARD_SUFFIXES if self.name.endswith(suffix))


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


def _stage_manifest(directory: Path) -> Manifest | None:
    """Manifest of a directory that a stage of ours made; None for any other directory."""
    if (directory / UNFINISHED_NAME).exists():
        raise UnfinishedError(f"{directory}: unfinished; run the command that makes it again")
    return Manifest.find(directory)


def _shards_of_stage(directory: Path, manifest: Manifest) -> list[Shard]:
    entries = [entry for entry in manifest.outputs if entry.documents is not None]
    if manifest.stage not in _CORPUS_STAGES:
        raise ParameterError(
            f"{directory}: the output of `pile-tools {manifest.stage}`, which is no corpus; "
            "give a directory of shards"
        )
    for entry in entries:
        path = entry.path(directory)
        if not path.is_file():
            raise DataError(f"{path}: listed in {MANIFEST_NAME} but missing; make {directory} again")
        if path.stat().st_size != entry.bytes:
            raise DataError(
                f"{path}: {path.stat().st_size} bytes, but {MANIFEST_NAME} says {entry.bytes}; "
                f"make {directory} again"
            )
    return [_listed(directory, manifest, entry) for entry in entries]


def _listed(directory: Path, manifest: Manifest, entry: FileEntry) -> Shard:
    return Shard(directory / entry.name, entry.name, manifest.identity, entry.sha256)


def _shards_of_directory(directory: Path) -> list[Shard]:
    manifest = _stage_manifest(directory)
    if manifest is not None:
        return _shards_of_stage(directory, manifest)
    found = [
        path
        for path in directory.rglob("*")
        if path.name.endswith(_DIRECTORY_SUFFIXES)
        and not any(part.startswith(".") for part in path.relative_to(directory).parts)
        and path.is_file()
    ]
    if not found:
        raise PileToolsError(
            f"{directory}: no shards in it; a directory is searched for {', '.join(_DIRECTORY_SUFFIXES)}"
        )
    return [Shard(path, path.relative_to(directory).as_posix()) for path in found]


def _shard_of_file(path: Path) -> Shard:
    if not path.name.endswith(SHARD_SUFFIXES):
        raise ParameterError(f"{path}: not a shard; its name must end in {', '.join(SHARD_SUFFIXES)}")
    manifest = _stage_manifest(path.parent)
    for entry in () if manifest is None else manifest.outputs:
        if manifest is not None and entry.name == path.name:
            if entry.documents is None:
                raise ParameterError(f"{path}: a table that `pile-tools {manifest.stage}` made, not a shard")
            return _listed(path.parent, manifest, entry)
    return Shard(path, path.name)


def _outside(path: Path, directory: Path | None) -> bool:
    return directory is None or directory.resolve() not in path.resolve().parents


def _shards_of_pattern(pattern: str, leave_out: Path | None) -> list[Shard]:
    """The shards among the files that match; other files that match are passed over, as in a directory."""
    shards = []
    for match in map(Path, sorted(glob.glob(pattern, recursive=True))):
        if match.is_file() and match.name.endswith(SHARD_SUFFIXES) and _outside(match, leave_out):
            manifest = _stage_manifest(match.parent)
            tables = () if manifest is None else manifest.outputs
            if not any(entry.name == match.name and entry.documents is None for entry in tables):
                shards.append(_shard_of_file(match))
    if not shards:
        raise PileToolsError(f"{pattern}: no such file or directory, and no shard matches it as a pattern")
    return shards


def list_shards(inputs: Iterable[str | os.PathLike[str]], *, leave_out: Path | None = None) -> list[Shard]:
    """Return the shards that files, directories and glob patterns stand for, in natural order of names.

    A directory is searched through all its folders, but for files and folders whose names begin with a
    dot, and its shards are named relative to it; a directory that `pile-tools dedup` made gives the
    shards that its manifest lists. A file's name is its last part. Neither a search nor a pattern looks
    into the directory ``leave_out``, where the output of a stage may lie inside its input.

    Raises PileToolsError where an input is missing or stands for nothing, ParameterError where two
    files would have the same name, and UnfinishedError for the directory of an unfinished stage.
    """
    shards: list[Shard] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            below = leave_out is not None and not _outside(leave_out, path)
            shards += [
                shard for shard in _shards_of_directory(path) if not below or _outside(shard.path, leave_out)
            ]
        elif path.exists():
            shards.append(_shard_of_file(path))
        else:
            shards += _shards_of_pattern(os.fspath(given), leave_out)
    if not shards:
        raise PileToolsError("no input: name at least one file, directory or pattern")
    for shard in shards:
        problem = name_problem(shard.name)
        if problem is not None:
            raise ParameterError(f"{shard.name!r}: a name {problem}, and tables hold it; rename the file")
    shards.sort(key=lambda shard: (natural_key(shard.name), shard.name))
    for one, two in pairwise(shards):
        if one.name == two.name:
            raise ParameterError(
                f"{one.path} and {two.path}: both would be called {one.name}; give each file once, "
                "and files of different folders by the directory above them"
            )
    return shards
