"""Output files that a user names: none replaces a file that exists, or that a manifest or record lists."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import orjson

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.manifest import MANIFEST_NAME

__all__ = ["is_picture", "refuse_listed", "refuse_output"]

# Written out: the modules of these formats load NumPy, which a check of an option can do without.
_ORDER_NAME: Final = "order.json"
_DIGESTS_NAME: Final = "digests.json"
_RECORDS: Final = (MANIFEST_NAME, _ORDER_NAME, _DIGESTS_NAME, "origins.json", "overlay.json")
# What the pictures that a command draws begin with: PNG, PDF, SVG (with and without an XML declaration).
_PICTURES: Final = (b"\x89PNG\r\n\x1a\n", b"%PDF-", b"<?xml", b"<svg")


def refuse_output(path: Path, is_earlier: Callable[[Path], bool] = lambda path: False) -> None:
    """Raise PileToolsError where writing the file ``path`` would replace one, or one that is listed.

    ``is_earlier`` says of an existing file whether it is an earlier output of the same kind, which may be
    replaced. Pipes and devices are written to as they are. Links are followed, as the writer follows them.
    """
    if path.is_dir():
        raise ParameterError(f"{path}: a directory; name a file")
    if path.exists() and not path.is_file():
        return
    refuse_listed(path)
    if path.exists() and not is_earlier(path):
        raise PileToolsError(f"{path}: exists already; remove it, or name another file")


def is_picture(path: Path) -> bool:
    """Whether the file ``path`` is a picture as a command draws it, or empty."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _PICTURES)))
    return not start or start.startswith(_PICTURES)


def refuse_listed(path: Path) -> None:
    """Raise PileToolsError where a manifest or a record lists the file ``path``, or where it is one."""
    target = Path(os.path.realpath(path))
    state = "exists already, " if target.exists() else ""
    for record in _records(target):
        if target == record:
            raise PileToolsError(f"{path}: {state}a record of pile-tools; name another file")
        if target.relative_to(record.parent).as_posix() in _listed(record):
            raise PileToolsError(f"{path}: {state}listed in {record}; name another file")


def _records(target: Path) -> Iterator[Path]:
    """Yield the manifests and records that could list ``target``: beside it, or in a directory above."""
    for directory in target.parents:
        yield from (path for name in _RECORDS if (path := directory / name).is_file())
    for name in (_ORDER_NAME, _DIGESTS_NAME):
        yield from target.parent.glob(f"*_{name}")


def _listed(record: Path) -> set[str]:
    """Return the names that a manifest or record lists, relative to its directory.

    All of them are JSON with a format of pile-tools and their entries under one of two keys. One that is
    damaged lists nothing: it is not for this check to say so.
    """
    if record.name.endswith(_DIGESTS_NAME):
        return {f"{record.stem}.npy"}
    try:
        value = orjson.loads(record.read_bytes())
        if not str(value["format"]).startswith("pile-tools "):
            return set()
        return {entry["name"] for key in ("outputs", "files") for entry in value.get(key, ())}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return set()
