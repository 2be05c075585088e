"""Tables of words to be swapped, and what they are in a tokenizer's ids."""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pile_tools.algorithms.orders.swaps import check_pairs
from pile_tools.errors import DataError, MissingFileError, ParameterError

__all__ = ["PRONOUNS", "ResolvedTable", "read_swap_table", "resolve"]

PRONOUNS: Final = "pronouns"
"""The name of the bundled table: English masculine pronouns to feminine ones."""

Words = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ResolvedTable:
    """A table in a tokenizer's ids: ``swaps`` of one token by one; ``longer`` the other pairs, as words.

    Where there are none of the latter the table is one of tokens, which are swapped wherever they stand.
    """

    swaps: tuple[tuple[int, int], ...]
    longer: tuple[tuple[str, str], ...]


def read_swap_table(name: str) -> Words:
    """Read the table in the file ``name``, or the bundled one: pairs of words.

    A line holds two words with a tab between them, each exactly as it stands in text: a space before a word
    belongs to it. Empty lines and lines that begin with # are comments. Raises DataError for other lines and
    ParameterError for a word that stands twice on the left, or a cycle.
    """
    if name == PRONOUNS:
        content = resources.files("pile_tools.studies").joinpath("pronouns.tsv").read_bytes()
    else:
        try:
            content = Path(name).read_bytes()
        except FileNotFoundError:
            raise MissingFileError(
                f"{name}: no such file; the bundled table is called {PRONOUNS!r}"
            ) from None
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 at byte {error.start}") from None
    pairs: Words = []
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split("\t")
        if len(words) != 2 or not all(word.strip() for word in words):
            raise DataError(f"{name}: line {number} is not two words with a tab between them: {line!r}")
        pairs.append((words[0], words[1]))
    if not pairs:
        raise DataError(f"{name}: no pair of words in it")
    try:
        check_pairs(pairs)
    except ParameterError as error:
        raise ParameterError(f"{name}: {error}") from None
    return pairs


def resolve(pairs: Words, tokenizer: Any, name: str) -> ResolvedTable:
    """Return ``pairs`` in the ids of ``tokenizer`` (a `tokenizers.Tokenizer`)."""
    swaps: list[tuple[int, int]] = []
    longer: Words = []
    for left, right in pairs:
        ids = [_encode(tokenizer, word, name) for word in (left, right)]
        if all(len(word) == 1 for word in ids):
            pair = ids[0][0], ids[1][0]
            if pair not in swaps:  # a tokenizer may not tell a word with a space before it from one without
                swaps.append(pair)
        else:
            longer.append((left, right))
    try:
        check_pairs(swaps)
    except ParameterError as error:
        raise ParameterError(f"{name}: in this tokenizer's ids, {error}") from None
    return ResolvedTable(tuple(swaps), tuple(longer))


def _encode(tokenizer: Any, word: str, name: str) -> list[int]:
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False).ids
    if tokenizer.decode(ids, skip_special_tokens=False).strip() != word.strip():
        raise ParameterError(f"{name}: the tokenizer has no tokens for {word!r}; leave it out")
    return ids
