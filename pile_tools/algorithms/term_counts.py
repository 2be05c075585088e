"""Count terms, which are words or runs of words, and their co-occurrence, in the text of tokens.

A word of a term is what ``words`` says. Texts are counted apart from each other: no word and no window spans
two.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.token_search import TokenBytes
from pile_tools.algorithms.unicode_data import character_table
from pile_tools.algorithms.words import split_term, word_hashes
from pile_tools.errors import DataError, ParameterError

__all__ = ["Terms", "check_term", "count_terms", "split_texts"]

Int64Array = npt.NDArray[np.int64]


@numba.njit(cache=True, nogil=True)
def _is_continued(text, position, size):  # type: ignore[no-untyped-def]
    """Whether the ``size`` bytes at ``position`` are one character in UTF-8 (RFC 3629, section 4)."""
    if position + size > len(text):
        return False
    lead, second = text[position], text[position + 1]
    low, high = 0x80, 0xBF
    if lead == 0xE0:
        low = 0xA0
    elif lead == 0xED:
        high = 0x9F
    elif lead == 0xF0:
        low = 0x90
    elif lead == 0xF4:
        high = 0x8F
    valid = low <= second <= high
    for i in range(2, size):
        valid &= 0x80 <= text[position + i] <= 0xBF
    return valid


@numba.njit(cache=True, nogil=True)
def _blank_invalid(text):  # type: ignore[no-untyped-def]
    """Put a space for each byte that is of no character: U+FFFD is no character of a word either."""
    position = 0
    while position < len(text):
        lead = text[position]
        size = 1
        if lead >= 0x80:
            size = 2 if lead < 0xE0 else (3 if lead < 0xF0 else 4)
            if lead < 0xC2 or lead > 0xF4 or not _is_continued(text, position, size):
                text[position] = 0x20
                size = 1
        position += size


@numba.njit(cache=True, nogil=True)
def _joined_bytes(tokens, starts):  # type: ignore[no-untyped-def]
    """The bytes of all tokens together, or −1 − token for one that has no entry."""
    total = 0
    for row in range(len(tokens)):
        for value in tokens[row]:
            token = np.int64(value)
            if token < 0 or token >= len(starts) - 1:
                return -1 - np.abs(token)
            total += starts[token + 1] - starts[token]
    return total


@numba.njit(cache=True, nogil=True)
def _join(tokens, starts, content, separators, out, bounds):  # type: ignore[no-untyped-def]
    """Put the bytes of rows of tokens into ``out``, cut after each and at separators; return the texts."""
    texts = 0
    filled = 0
    bounds[0] = 0
    for row in range(len(tokens)):
        for column in range(tokens.shape[1]):
            token = np.int64(tokens[row, column])
            if separators[token]:
                texts += 1
                bounds[texts] = filled
                continue
            for at in range(starts[token], starts[token + 1]):
                out[filled] = content[at]
                filled += 1
        texts += 1
        bounds[texts] = filled
    for text in range(texts):
        _blank_invalid(out[bounds[text] : bounds[text + 1]])
    return texts


def split_texts(
    tokens: npt.NDArray[Any], token_bytes: TokenBytes, separators: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.uint8], Int64Array]:
    """Return the texts in rows of ``tokens`` [n, m], cut where a row ends and at ``separators`` [V].

    Their UTF-8 end to end, with spaces for bytes that are none, and their bounds, int64[texts + 1].
    """
    total = _joined_bytes(tokens, token_bytes.starts)
    if total < 0:
        raise DataError(f"token {-1 - total} is beyond the tokenizer; give the one that made the dataset")
    out = np.empty(total, np.uint8)
    bounds = np.empty(tokens.size + len(tokens) + 1, np.int64)
    texts = _join(tokens, token_bytes.starts, token_bytes.content, separators, out, bounds)
    bounds = bounds[: texts + 1].copy()
    return out[: bounds[-1]], bounds


def check_term(term: str) -> None:
    """Raise ParameterError for a term in which anything but words and white space is, or no word."""
    if re.fullmatch(r"[\w\s]*\w[\w\s]*", term, re.ASCII):
        return
    words, others = split_term(term)
    if not words:
        raise ParameterError(
            f"term {term!r} has no word in it; `pile-tools find --count` counts a text as it is written"
        )
    if others:
        these = "this word" if len(words) == 1 else "these words in a row"
        raise ParameterError(
            f"term {term!r}: {others[0]!r} is no part of a word; write {' '.join(words)!r} to count {these}, "
            "or count the text itself with `pile-tools find --count`"
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """Compiled terms.

    ``slots`` uint64 and ``ids`` int32: an open hash table of their words; ``words`` int32, end to end, those
    of term t from ``bounds[t]`` to ``bounds[t + 1]``; ``ending`` the terms in order of their last word, those
    of word w from ``heads[w]`` to ``heads[w + 1]``.
    """

    slots: npt.NDArray[np.uint64]
    ids: npt.NDArray[np.int32]
    words: npt.NDArray[np.int32]
    bounds: Int64Array
    ending: Int64Array
    heads: Int64Array

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @classmethod
    def of(cls, terms: Sequence[str]) -> "Terms":
        """Compile ``terms``; ParameterError for one that ``check_term`` refuses, or the same words twice."""
        table = character_table()
        found: dict[tuple[int, ...], str] = {}
        for term in terms:
            check_term(term)
            text = np.frombuffer(term.encode(), np.uint8)
            words = np.empty(len(text) + 3, np.uint64)
            own = tuple(words[: word_hashes(text, table, words)].tolist())
            if own in found:
                raise ParameterError(f"term {term!r} has the words of {found[own]!r}")
            found[own] = term
        known = {word: number for number, word in enumerate(dict.fromkeys(w for ws in found for w in ws))}
        size = 1 << (4 * len(known)).bit_length()
        slots, ids = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
        for word, number in known.items():
            at = word & (size - 1)
            while ids[at] >= 0:
                at = (at + 1) & (size - 1)
            slots[at], ids[at] = word, number
        last = np.array([known[words[-1]] for words in found], np.int64)
        return cls(
            slots,
            ids,
            np.array([known[word] for words in found for word in words], np.int32),
            np.concatenate([[0], np.cumsum([len(words) for words in found])]).astype(np.int64),
            np.argsort(last, kind="stable").astype(np.int64),
            np.concatenate([[0], np.cumsum(np.bincount(last, minlength=len(known)))]).astype(np.int64),
        )


@numba.njit(cache=True, nogil=True)
def _number(word, slots, ids):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    at = word & mask
    while ids[at] >= 0:
        if slots[at] == word:
            return ids[at]
        at = (at + np.uint64(1)) & mask
    return np.int32(-1)


@numba.njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    content, bounds, table, slots, ids, words, term_bounds, ending, heads, window, counts, pairs
):
    longest = 0
    for text in range(len(bounds) - 1):
        longest = max(longest, bounds[text + 1] - bounds[text])
    hashes = np.empty(longest + 3, np.uint64)
    numbers = np.empty(longest + 1, np.int32)
    # The occurrences of the text so far: term, first and last word.
    met = np.empty((0, 3), np.int64)
    for text in range(len(bounds) - 1):
        n_words = word_hashes(content[bounds[text] : bounds[text + 1]], table, hashes)
        n_met = 0
        for place in range(n_words):
            number = _number(hashes[place], slots, ids)
            numbers[place] = number
            if number < 0:
                continue
            for at in range(heads[number], heads[number + 1]):
                term = ending[at]
                first = place - (term_bounds[term + 1] - term_bounds[term]) + 1
                if first < 0:
                    continue
                same = True
                for i in range(place - first):
                    same &= numbers[first + i] == words[term_bounds[term] + i]
                if not same:
                    continue
                counts[term] += 1
                if window == 0:
                    continue
                before = n_met - 1
                while before >= 0 and met[before, 2] > place - window:
                    if met[before, 1] > place - window and met[before, 2] < first:
                        other = met[before, 0]
                        pairs[min(term, other), max(term, other)] += 1
                    before -= 1
                if n_met == len(met):
                    more = np.empty((2 * len(met) + 64, 3), np.int64)
                    more[:n_met] = met
                    met = more
                met[n_met, 0], met[n_met, 1], met[n_met, 2] = term, first, place
                n_met += 1


def count_terms(
    content: npt.NDArray[np.uint8], bounds: Int64Array, terms: Terms, window: int = 0
) -> tuple[Int64Array, Int64Array]:
    """Count ``terms`` in texts (see ``split_texts``): int64[T], and pairs of them int64[T, T].

    Pair (t, u), t ≤ u, is counted for each two occurrences that do not overlap and lie within ``window``
    consecutive words; with ``window`` 0 no pairs are counted and their array is [0, 0]. Words are compared by
    64-bit hashes.
    """
    counts = np.zeros(len(terms), np.int64)
    pairs = np.zeros((len(terms), len(terms)) if window else (0, 0), np.int64)
    _count(
        content, bounds, character_table(), terms.slots, terms.ids, terms.words, terms.bounds,
        terms.ending, terms.heads, window, counts, pairs,
    )  # fmt: skip
    return counts, pairs
