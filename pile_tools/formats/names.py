"""File names in records, and whether each is inside of the directory that the record describes.

A record (a manifest, an order, a table of documents, a listing of a server) says two things of files:

name       a file inside of one directory, such as ``train/00.jsonl.zst``. It is checked here wherever it is
           read, and what it names is read and written. The files of a manifest, an order, an overlay or
           origins, labels, prefixes, identities of ancestors and the shards in tables are names.
location   a path or URL that leads elsewhere on purpose, such as ``../tokens``: that of an overlay's parent
           (``parent.json``), of the datasets of a blend, of shards (``locations.json``, ``inputs.json``), of
           a suite's dataset. It is only ever read from; nothing is written through a location in a record.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from pile_tools.errors import DataError

__all__ = ["check_name", "name_problem", "path_inside"]

# What almost all names are; the others are looked at part by part.
_PLAIN: Final = re.compile(r"(?!\.)[\w .,+=@:()-]{1,200}(/(?!\.)[\w .,+=@:()-]{1,200}){0,9}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_PART: Final = 255
_LONGEST: Final = 4095


def name_problem(name: object, *, nested: bool = True) -> str | None:
    """Return why ``name`` cannot be the name of a file inside of a directory; None where it can.

    ``nested``: it may be in folders of the directory, with "/" between parts.
    """
    if not isinstance(name, str):
        return "which is no text"
    if _PLAIN.fullmatch(name) and (nested or "/" not in name):
        return None
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "which is not UTF-8"
    parts = name.split("/")
    if name == "":
        return "which is empty"
    if _CONTROL.search(name):
        return "which holds control characters"
    if "\\" in name:
        return "which holds a backslash"
    if name.startswith("/"):
        return "which is an absolute path"
    if ".." in parts:
        return 'which leads out of its directory by ".."'
    if "" in parts or "." in parts:
        return "which has an empty part"
    if not nested and len(parts) > 1:
        return 'which holds a "/"'
    if length > _LONGEST or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "which is longer than names can be"
    return None


def check_name(name: object, record: str, *, nested: bool = True) -> str:
    """Return ``name``, which the file or listing ``record`` holds; DataError where it has a problem."""
    problem = name_problem(name, nested=nested)
    if problem is not None or not isinstance(name, str):
        raise DataError(
            f"{record}: names {name!r:.200}, {problem}; pile-tools writes no such name, so do not use this "
            "data, and get it again from a source that you trust"
        )
    return name


def path_inside(directory: Path, name: str) -> Path:
    """Return the path of the file ``name`` of a record in ``directory``, whether it is there yet or not.

    Raises DataError where the name is not inside of the directory: for what ``name_problem`` says, a link
    that leads out, and a device, pipe or socket. A link that stays inside is followed, and the directory
    itself may be reached by a link.
    """
    path = directory / check_name(name, str(directory))
    target = Path(os.path.realpath(path))
    root = _root(Path(os.path.realpath(directory)))
    if root not in target.parents:
        raise DataError(f"{path}: a link out of {directory}, to {target}; put the file itself there")
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: a device, pipe or socket; put a file there")
    return path


def _root(directory: Path) -> Path:
    """Return the directory that holds the content of ``directory``.

    That is itself, except for a snapshot in the Hub's cache, whose files are links to the ``blobs`` beside
    ``snapshots``.
    """
    for parent in directory.parents:
        if parent.name == "snapshots" and (parent.parent / "blobs").is_dir():
            return parent.parent
    return directory
