"""Hub ids, told from paths: which of the two an argument names that may be either."""

import re
from pathlib import Path
from typing import Final

from pile_tools.errors import PileToolsError

__all__ = ["split_hub_id"]

_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_STEP: Final = re.compile(r"step\d+")
_FILE_SUFFIXES: Final = (".json", ".safetensors", ".idx", ".bin")
_LISTED: Final = 5


def split_hub_id(text: str, what: str) -> tuple[str, str | None]:
    """Return id and revision of ``text``, "owner/name" or "owner/name@revision", which is no path here.

    Raises PileToolsError, with no question to the Hub, where ``text`` can only be meant as the path of
    ``what`` ("directory" or "file"): it is not of the form of an id, is in a directory that is here, or ends
    in ``stepN`` as checkpoints do. A Hub id that ends so is named with its revision.
    """
    repository, _, revision = text.partition("@")
    path = Path(text)
    owner = path.parts[0] if path.parts else ""
    if _ID.fullmatch(repository) is None or repository.endswith(_FILE_SUFFIXES):
        raise PileToolsError(
            f"{text}: no such {what}; neither a {what} nor a Hub id (owner/name, owner/name@revision)"
        )
    if Path(owner).is_dir():
        raise PileToolsError(f"{text}: no such {what}; {_contents(Path(owner))}")
    if not revision and _STEP.fullmatch(path.name):
        raise PileToolsError(
            f"{text}: no such {what} (for a repository of that name on the Hub, write {text}@main)"
        )
    return repository, revision or None


def _contents(directory: Path) -> str:
    """Say which checkpoints are in ``directory``, or else what is there."""
    names = sorted(entry.name for entry in directory.iterdir() if not entry.name.startswith("."))
    steps = sorted((name for name in names if _STEP.fullmatch(name)), key=lambda name: int(name[4:]))
    listed = steps[-_LISTED:] or names[:_LISTED]
    more = ", …" if len(listed) < len(steps or names) else ""
    return f"{directory} holds {', '.join(listed)}{more}" if listed else f"{directory} is empty"
