"""Words swapped in the text of a piece of a document, which is re-tokenised."""

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Retokenizer"]

_BROKEN: Final = "\ufffd"
# No character takes more tokens at the edge of a piece than UTF-8 has bytes for one, but the last.
_EDGE: Final = 3


class Retokenizer:
    """Swaps of the pairs ``words``, all at once, where they are whole words.

    A word is whole where no letter, digit or underscore stands beside it. Special tokens stay where they are,
    and so do the tokens of a character that is cut at an edge of what is re-tokenised.
    """

    def __init__(self, words: Sequence[tuple[str, str]], tokenizer: Any, dtype: np.dtype[Any]) -> None:
        self._tokenizer = tokenizer
        self._dtype = dtype
        self._words = dict(words)
        longest_first = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_whole, longest_first)))
        added = tokenizer.get_added_tokens_decoder()
        self._special = np.array([number for number, token in added.items() if token.special], np.int64)

    def __call__(self, tokens: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Return what becomes of the piece ``tokens`` [n], of any length; None where no word is in it."""
        ids: list[int] = []
        changed = False
        cuts = np.flatnonzero(np.isin(tokens, self._special)).tolist()
        start = 0
        for stop in [*cuts, len(tokens)]:
            part = tokens[start:stop].tolist()
            new = self._swap_words(part)
            changed |= new is not None
            ids += part if new is None else new
            ids += tokens[stop : stop + 1].tolist()
            start = stop + 1
        return np.array(ids, self._dtype) if changed else None

    def _swap_words(self, ids: Sequence[int]) -> list[int] | None:
        if self._pattern.search(self._decode(ids)) is None:
            return None
        first, last = 0, len(ids)
        while first < min(_EDGE, last) and self._decode(ids[first:last]).startswith(_BROKEN):
            first += 1
        while last > max(len(ids) - _EDGE, first) and self._decode(ids[first:last]).endswith(_BROKEN):
            last -= 1
        text = self._decode(ids[first:last])
        swapped = self._pattern.sub(lambda match: self._words[match[0]], text)
        if swapped == text:
            return None
        encoded = self._tokenizer.encode(swapped, add_special_tokens=False).ids
        return [*ids[:first], *encoded, *ids[last:]]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def _whole(word: str) -> str:
    """A pattern of ``word`` where it does not go on into a longer one."""
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return f"{before}{re.escape(word)}{after}"
