"""Two texts aligned word by word, for people to read."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

__all__ = ["Stretch", "align_words"]

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Pieces of both texts that stand at the same place; pieces are what white space separates."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    same: bool


def _keys(pieces: list[str]) -> list[tuple[str, ...]]:
    # What is not part of a word does not make two documents different, and is not marked.
    return [tuple(_WORD.findall(piece.lower())) for piece in pieces]


def align_words(left: str, right: str) -> list[Stretch]:
    """Return the stretches of two texts in order; those with the same words have ``same`` set."""
    one, two = left.split(), right.split()
    matcher = SequenceMatcher(None, _keys(one), _keys(two))
    return [
        Stretch(tuple(one[a:b]), tuple(two[c:d]), tag == "equal") for tag, a, b, c, d in matcher.get_opcodes()
    ]
