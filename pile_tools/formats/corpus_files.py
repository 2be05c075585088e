"""Files of a corpus: a search of directories and glob patterns that leaves nothing out without a word.

A file is a shard by its name, or of a kind that is passed over on purpose and counted (hidden files,
README and the like), or an error that names it. So is what cannot be read: a folder without
permission, a link to nothing, a named pipe.
"""

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

from pile_tools.errors import ParameterError, PileToolsError

__all__ = [
    "DIRECTORY_SUFFIXES",
    "SHARD_SUFFIXES",
    "PassedOver",
    "check_is_file",
    "describe_passed_over",
    "expand_pattern",
    "kind_passed_over",
    "list_directory",
    "refuse_name",
]

SHARD_SUFFIXES = (".jsonl.zst", ".jsonl.gz", ".jsonl", ".parquet", ".txt")
"""What a shard's name ends with. A ``.txt`` file is one document."""

# A directory of shards often holds text files that are no documents: those must be asked for by name
# or pattern.
DIRECTORY_SUFFIXES = SHARD_SUFFIXES[:-1]

PassedOver = Counter[str]
"""How many files were passed over on purpose, by kind (a key of ``_KINDS``)."""

_KINDS = {
    "hidden": "hidden files or folders",
    "description": "README files and the like",
    "json": ".json files",
    "link": "links to folders that are searched already",
    "table": "tables that pile-tools made",
}

_DESCRIPTION = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|citation|(sha|md)\d*sums?|checksums?)"
    r"(\.(txt|md|rst|html|cff|bib))?"
    r"|_success|.*\.(md|md5|sha1|sha256|sha512|crc)",
    re.IGNORECASE,
)
_JSON_LINES = re.compile(r"\.(json|jsonl|ndjson|jl)(\.(gz|zstd?))?$", re.IGNORECASE)
_PACKED = re.compile(r"\.(xz|bz2|lz4|lzma|br|zip|7z|tar|tgz|gz|zst|zstd)$", re.IGNORECASE)


def kind_passed_over(name: str) -> str | None:
    """Return the kind of a file that a search passes over on purpose; None for any other name.

    A ``.json`` file beside shards is about them as a rule.
    """
    if _DESCRIPTION.fullmatch(name):
        return "description"
    return "json" if name.lower().endswith(".json") else None


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """Say how many files of each kind were passed over."""
    return ", ".join(f"{count:,} {_KINDS[kind]}" for kind, count in sorted(passed_over.items()))


def refuse_name(path: Path) -> NoReturn:
    """Raise ParameterError for a file whose name is not that of a shard."""
    json_lines, packed = _JSON_LINES.search(path.name), _PACKED.search(path.name)
    if path.name.endswith(SHARD_SUFFIXES):
        remedy = "name text files themselves, or by a pattern"
    elif json_lines is not None:
        compression = {"gz": ".gz", "zst": ".zst", "zstd": ".zst"}.get((json_lines[3] or "").lower(), "")
        renamed = f"{path.name[: json_lines.start()]}.jsonl{compression}"
        remedy = f"where it holds a JSON record in each line, rename it to {renamed}"
    elif path.name.lower().endswith(SHARD_SUFFIXES):
        suffix = next(suffix for suffix in SHARD_SUFFIXES if path.name.lower().endswith(suffix))
        remedy = f"rename it to {path.name[: -len(suffix)]}{suffix}"
    elif packed is not None:
        remedy = "unpack it, and compress its lines as .jsonl.zst"
    else:
        remedy = "move it away, or name the shards by a pattern"
    raise ParameterError(f"{path}: not a shard; its name must end in {', '.join(SHARD_SUFFIXES)}: {remedy}")


def check_is_file(path: Path) -> None:
    """Raise PileToolsError for what is no regular file: a link to nothing, a named pipe, a device."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink():
            raise PileToolsError(
                f"{path}: a link to {os.readlink(path)}, which cannot be read ({error.strerror}); "
                "mend or remove the link"
            ) from None
        raise
    kinds = {
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is not None:
        raise PileToolsError(f"{path}: {kind}, which can be read once only; write its content into a file")


def _scan(directory: Path) -> list[os.DirEntry[str]]:
    """The entries of a directory in the order of their names; PileToolsError where it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise PileToolsError(
            f"{directory}: a folder of the corpus that cannot be read ({error.strerror or error}); make it "
            "readable, or name the shards that are wanted by a pattern"
        ) from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; PileToolsError for a link to nothing."""
    if entry.is_symlink():
        check_is_file(Path(entry.path))
    return entry.is_dir()


def _first_visit(directory: Path, visited: set[tuple[int, int]]) -> bool:
    status = directory.stat()
    key = (status.st_dev, status.st_ino)
    known = key in visited
    visited.add(key)
    return not known


def list_directory(directory: Path, passed_over: PassedOver, stop: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield the shards in ``directory`` and its folders, counting into ``passed_over``.

    A folder for which ``stop`` is true is not searched. A folder that links lead to is searched once,
    under its own name where it has one. Raises PileToolsError where something cannot be read, and
    ParameterError for a file of another name.
    """
    visited: set[tuple[int, int]] = set()
    folders, linked = [directory], list[Path]()
    while folders or linked:
        folder = folders.pop() if folders else linked.pop(0)
        if not _first_visit(folder, visited):
            passed_over["link"] += 1
            continue
        if folder is not directory and stop(folder):
            continue
        for entry in _scan(folder):
            path = folder / entry.name
            if entry.name.startswith("."):
                passed_over["hidden"] += 1
            elif _is_folder(entry):
                (linked if entry.is_symlink() else folders).append(path)
            elif entry.name.endswith(DIRECTORY_SUFFIXES):
                check_is_file(path)
                yield path
            elif (kind := kind_passed_over(entry.name)) is not None:
                passed_over[kind] += 1
            else:
                check_is_file(path)
                refuse_name(path)


def expand_pattern(pattern: str) -> Iterator[Path]:
    """Yield the files and folders that match a glob pattern, as a shell does; ``**`` is any folders.

    Unlike `glob.glob`, raises PileToolsError for a folder that cannot be read and a link to nothing.
    """
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    if parts and parts[-1] == "**":
        parts = (*parts, "*")
    yield from dict.fromkeys(_matches(Path(path.anchor), parts, set()))


def _matches(directory: Path, parts: tuple[str, ...], visited: set[tuple[int, int]]) -> Iterator[Path]:
    if not parts:
        yield directory
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        if not _first_visit(directory, visited):
            return
        yield from _matches(directory, rest, set())
        for entry in _scan(directory):
            if not entry.name.startswith(".") and _is_folder(entry):
                yield from _matches(directory / entry.name, parts, visited)
    elif glob.has_magic(first):
        for entry in _scan(directory):
            hidden = entry.name.startswith(".") and not first.startswith(".")
            if not hidden and fnmatchcase(entry.name, first) and (_is_folder(entry) or not rest):
                yield from _matches(directory / entry.name, rest, visited)
    elif os.path.lexists(directory / first) and (not rest or (directory / first).is_dir()):
        yield from _matches(directory / first, rest, visited)
