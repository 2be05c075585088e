"""Words swapped in the text of a piece of a document, which is re-tokenised."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["CONTEXT_TOKENS", "Retokenizer"]

_BROKEN: Final = "\ufffd"
# No character takes more tokens at the edge of a piece than UTF-8 has bytes for one, but the last.
_EDGE: Final = 3
CONTEXT_TOKENS: Final = 4
"""The tokens beside a piece in which a whole character is found: UTF-8 has no more bytes for one."""

Context = Callable[[], tuple[Sequence[int], Sequence[int]]]


def _no_context() -> tuple[Sequence[int], Sequence[int]]:
    return (), ()


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

    def __call__(self, tokens: npt.NDArray[Any], context: Context = _no_context) -> npt.NDArray[Any] | None:
        """Return what becomes of the piece ``tokens`` [n], of any length; None where no word is in it.

        ``context()`` gives up to ``CONTEXT_TOKENS`` tokens of the document before the piece and after it:
        they say whether a word at an edge is whole. It is asked where there may be such a word.
        """
        ids: list[int] = []
        changed = False
        cuts = np.flatnonzero(np.isin(tokens, self._special)).tolist()
        start = 0
        for stop in [*cuts, len(tokens)]:
            part = tokens[start:stop].tolist()
            at_edge = start == 0, stop == len(tokens)
            new = self._swap_words(part, context, at_edge)
            changed |= new is not None
            ids += part if new is None else new
            ids += tokens[stop : stop + 1].tolist()
            start = stop + 1
        return np.array(ids, self._dtype) if changed else None

    def _swap_words(
        self, ids: Sequence[int], context: Context, at_edge: tuple[bool, bool]
    ) -> list[int] | None:
        if self._pattern.search(self._decode(ids)) is None:
            return None
        first, last = 0, len(ids)
        while first < min(_EDGE, last) and self._decode(ids[first:last]).startswith(_BROKEN):
            first += 1
        while last > max(len(ids) - _EDGE, first) and self._decode(ids[first:last]).endswith(_BROKEN):
            last -= 1
        text = self._decode(ids[first:last])
        before, after = (tokens if edge else () for tokens, edge in zip(context(), at_edge, strict=True))
        left = self._decode([*before, *ids[:last]]).removesuffix(text)[-1:]
        right = self._decode([*ids[first:], *after]).removeprefix(text)[:1]
        swapped = self._swap_text(left, text, right)
        if swapped == text:
            return None
        encoded = self._tokenizer.encode(swapped, add_special_tokens=False).ids
        return [*ids[:first], *encoded, *ids[last:]]

    def _swap_text(self, left: str, text: str, right: str) -> str:
        """Swap the words of ``text``, which stands between the characters ``left`` and ``right``."""
        whole, end = left + text + right, len(left) + len(text)
        parts, place = [], len(left)
        for match in self._pattern.finditer(whole, place):
            if match.end() <= end:
                parts += [whole[place : match.start()], self._words[match[0]]]
                place = match.end()
        return "".join([*parts, whole[place:end]])

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


def _whole(word: str) -> str:
    """A pattern of ``word`` where it does not go on into a longer one."""
    before = r"(?<!\w)" if re.match(r"\w", word) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return f"{before}{re.escape(word)}{after}"
