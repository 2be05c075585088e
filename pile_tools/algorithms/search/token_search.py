"""Search tokens for patterns: sequences of token ids, or texts at any alignment with the tokens.

A filter of one look-up for each token passes the places where a pattern may be; there it is compared. The
filter knows which tokens can be the first, and which the second, of the two neighbouring tokens by which a
pattern is sought, in seven classes and an eighth for patterns that need no second one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import DataError, ParameterError

__all__ = ["Matcher", "Matches", "TokenBytes", "text_matcher", "token_matcher"]


_TABLE: Final = 1 << 16
_CLASSES: Final = 7
_ALONE: Final = 7
_BLOCK: Final = 256
_RESULTS: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """The bytes of each token: of id t, ``content[starts[t] : starts[t + 1]]``; none where it has no text.

    ``starts`` int64[V + 1], ``content`` uint8.
    """

    starts: Int64Array
    content: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, tokens: Sequence[bytes]) -> "TokenBytes":
        starts = np.concatenate([[0], np.cumsum([len(token) for token in tokens], dtype=np.int64)])
        return cls(starts.astype(np.int64), np.frombuffer(b"".join(tokens), np.uint8))


@dataclass(frozen=True, slots=True)
class Matches:
    """Where patterns were found; all arrays int64[n], in order of start.

    ``start`` number of the first token in what was searched, ``n_tokens`` that the match touches,
    ``pattern`` its number, ``skip`` bytes of the first token before the match (0 for tokens).
    """

    start: Int64Array
    n_tokens: Int64Array
    pattern: Int64Array
    skip: Int64Array


@numba.njit(cache=True, nogil=True)
def _compare(tokens, start, limit, skip, texts, pattern, starts, content):  # type: ignore[no-untyped-def]
    """Tokens that ``pattern`` takes from ``start`` on; 0 where it is not there.

    −1 where all of it up to ``limit`` is there, but not its end; −2 where a token has no text.
    """
    if not texts:
        for j in range(len(pattern)):
            if start + j == limit:
                return -1
            if tokens[start + j] != pattern[j]:
                return 0
        return len(pattern)
    matched = 0
    place = start
    while place < limit:
        token = np.int64(tokens[place])
        if token < 0 or token >= len(starts) - 1 or starts[token] == starts[token + 1]:
            return -2
        for at in range(starts[token] + skip, starts[token + 1]):
            if content[at] != pattern[matched]:
                return 0
            matched += 1
            if matched == len(pattern):
                return place - start + 1
        skip = 0
        place += 1
    return -1


@numba.njit(cache=True, nogil=True)
def _search(  # type: ignore[no-untyped-def]
    tokens, begin, stop, table, heads, entries, kept, texts, bounds, patterns, starts, content, out
):
    """Write matches anchored at tokens [``begin``, ``stop``) until ``out`` may not hold another token's.

    Returns (matches written, where to go on), or (−1, the place of a token without text).
    """
    mask = np.int64(_TABLE - 1)
    low = np.uint16(0xFF)
    flags = np.zeros(_BLOCK, np.uint8)
    words = flags.view(np.uint64)
    count = 0
    while begin < stop:
        end = min(begin + _BLOCK, stop)
        any_flag = np.uint8(0)
        before = np.uint8(table[np.int64(tokens[begin]) & mask] & low)
        block = tokens[begin + 1 : end + 1]
        for i in range(len(block)):
            value = table[np.int64(block[i]) & mask]
            flag = before & np.uint8(value >> np.uint16(8))
            before = np.uint8(value & low)
            flags[i] = flag
            any_flag |= flag
        flags[len(block) :] = 0
        if end == len(tokens):  # nothing follows the last token; the comparison settles it
            flags[len(block)] = before
            any_flag |= before
        if any_flag:
            for word in range(_BLOCK // 8):
                if not words[word]:
                    continue
                for i in range(8 * word, 8 * word + 8):
                    key = np.int64(tokens[begin + i]) & kept if flags[i] else np.int64(-1)
                    if key < 0 or key >= len(heads) - 1:
                        continue
                    if count + heads[key + 1] - heads[key] > out.shape[1]:
                        return count, begin + i
                    for entry in range(heads[key], heads[key + 1]):
                        number, back, skip = entries[entry, 0], entries[entry, 1], entries[entry, 2]
                        start = begin + i - back
                        if start < 0:
                            continue
                        pattern = patterns[bounds[number] : bounds[number + 1]]
                        length = _compare(tokens, start, len(tokens), skip, texts, pattern, starts, content)
                        if length == -2:
                            return -1, start
                        if length > 0:
                            out[0, count] = start
                            out[1, count] = length
                            out[2, count] = number
                            out[3, count] = skip
                            count += 1
        begin = end
    return count, stop


@numba.njit(cache=True, nogil=True)
def _open_ends(  # type: ignore[no-untyped-def]
    tokens, ends, floors, longest, inner, heads, entries, kept, texts, bounds, patterns, starts, content, out
):
    """Set ``out[i]`` where a match may begin from ``floors[i]`` on and go on after ``ends[i]``."""
    mask = np.int64(_TABLE - 1)
    for i in range(len(ends)):
        end = ends[i]
        if end <= floors[i] or not inner[np.int64(tokens[end - 1]) & mask]:
            continue
        for place in range(max(floors[i], end - longest), end):
            key = np.int64(tokens[place]) & kept
            if key < 0 or key >= len(heads) - 1:
                continue
            for entry in range(heads[key], heads[key + 1]):
                number, back, skip = entries[entry, 0], entries[entry, 1], entries[entry, 2]
                if back == 0 and not out[i]:
                    pattern = patterns[bounds[number] : bounds[number + 1]]
                    out[i] = _compare(tokens, place, end, skip, texts, pattern, starts, content) < 0


@numba.njit(cache=True, nogil=True)
def _text_tables(starts, content, bounds, patterns, table, entries):  # type: ignore[no-untyped-def]
    """Fill the filter for texts, and ``entries`` if it has room; return entries for each token, int64[V]."""
    counts = np.zeros(len(starts) - 1, np.int64)
    filled = 0
    for token in range(len(counts)):
        text = content[starts[token] : starts[token + 1]]
        first = np.uint16(0)
        # A token without text must be met, not passed over: see _compare.
        second = np.uint16(0) if len(text) else np.uint16((1 << _CLASSES) - 1)
        for number in range(len(bounds) - 1):
            pattern = patterns[bounds[number] : bounds[number + 1]]
            for skip in range(len(text)):
                length = min(len(text) - skip, len(pattern))
                if not _equal(text, skip, pattern, 0, length):
                    continue
                if length == len(pattern):
                    first |= np.uint16(1 << _ALONE)
                else:
                    first |= np.uint16(1 << ((length + 3 * number) % _CLASSES))
                if filled < len(entries):
                    entries[filled, 0], entries[filled, 1], entries[filled, 2] = number, 0, skip
                    filled += 1
                counts[token] += 1
            for done in range(1, len(pattern)):
                if len(text) and _equal(text, 0, pattern, done, min(len(text), len(pattern) - done)):
                    second |= np.uint16(1 << ((done + 3 * number) % _CLASSES))
        table[token & (_TABLE - 1)] |= first | (second << np.uint16(8))
    return counts


@numba.njit(cache=True, nogil=True)
def _equal(one, at_one, two, at_two, length):  # type: ignore[no-untyped-def]
    same = True
    for i in range(length):
        same &= one[at_one + i] == two[at_two + i]
    return same


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """Compiled patterns; made by ``token_matcher`` and ``text_matcher``. Threads may share one.

    ``longest`` is the most tokens that a match can touch.
    """

    longest: int
    texts: bool
    table: npt.NDArray[np.uint16]
    inner: npt.NDArray[np.bool_]
    # By the bits ``kept`` of a token: rows of (pattern, tokens before it in the pattern, bytes of it before
    # the pattern), for the token by which each pattern is sought and for the one with which it begins. The
    # comparison tells apart tokens that share these bits.
    anchors: tuple[Int64Array, Int64Array]
    begins: tuple[Int64Array, Int64Array]
    kept: int
    bounds: Int64Array
    patterns: npt.NDArray[Any]
    token_bytes: TokenBytes

    def search(self, tokens: npt.NDArray[Any], begin: int = 0, stop: int | None = None) -> Matches:
        """Return the matches in ``tokens`` [n] whose anchor is from ``begin`` up to ``stop``.

        The anchor is one of the match's tokens, so that each match belongs to one of several ranges that
        follow each other. Matches may overlap. Raises DataError for a token without text inside a match.
        """
        stop = len(tokens) if stop is None else stop
        heads, entries = self.anchors
        out = np.empty((4, max(_RESULTS, int(np.diff(heads).max(initial=0)))), np.int64)
        parts = [np.empty((4, 0), np.int64)]
        while begin < stop:
            count, begin = _search(
                tokens, begin, stop, self.table, heads, entries, self.kept, self.texts, self.bounds,
                self.patterns, self.token_bytes.starts, self.token_bytes.content, out,
            )  # fmt: skip
            if count < 0:
                raise DataError(
                    f"a token among those from {tokens[begin]} on has no text in this tokenizer; give the "
                    "tokenizer that made the dataset"
                )
            parts.append(out[:, :count].copy())
        found = np.concatenate(parts, axis=1)
        if not self.texts and len(self.bounds) > 2:  # their anchors are not all at the same distance
            found = found[:, np.lexsort((found[2], found[0]))]
        return Matches(*found)

    def open_ends(
        self, tokens: npt.NDArray[Any], ends: Int64Array, floors: Int64Array
    ) -> npt.NDArray[np.bool_]:
        """Return for each piece of ``tokens``, ``floors[i]`` up to ``ends[i]``, whether a match may leave it.

        That is, whether the piece ends with a beginning of a pattern.
        """
        out = np.zeros(len(ends), np.bool_)
        _open_ends(
            tokens, ends, floors, self.longest, self.inner, *self.begins, self.kept, self.texts, self.bounds,
            self.patterns, self.token_bytes.starts, self.token_bytes.content, out,
        )  # fmt: skip
        return out


def _by_low_bits(rows: list[tuple[int, int, int]]) -> tuple[Int64Array, Int64Array]:
    """Rows of (low bits of a token, pattern, tokens before it): the first row for each, and the rows."""
    array = np.array(sorted(rows), np.int64).reshape(-1, 3)
    counts = np.bincount(array[:, 0], minlength=_TABLE)
    heads = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return heads, np.column_stack([array[:, 1:], np.zeros(len(array), np.int64)])


def _joined(patterns: Sequence[npt.NDArray[Any]]) -> tuple[Int64Array, npt.NDArray[Any]]:
    bounds = np.concatenate([[0], np.cumsum([len(pattern) for pattern in patterns])]).astype(np.int64)
    return bounds, np.concatenate(patterns)


def _new_table() -> npt.NDArray[np.uint16]:
    return np.full(_TABLE, 1 << (_ALONE + 8), np.uint16)


def token_matcher(patterns: Sequence[Sequence[int]], frequencies: npt.NDArray[Any] | None = None) -> Matcher:
    """Return a matcher of sequences of token ids, each of at least one.

    ``frequencies`` [V] of the ids, roughly; what is sought first is the rarest pair of a pattern. Raises
    ParameterError for an empty pattern or a negative id.
    """
    arrays = [np.asarray(pattern, np.int64) for pattern in patterns]
    if not arrays or any(len(array) == 0 for array in arrays):
        raise ParameterError("a pattern without a token is everywhere; give at least one token")
    if min(int(array.min()) for array in arrays) < 0:
        raise ParameterError("token ids are not negative")
    table = _new_table()
    inner = np.zeros(_TABLE, np.bool_)
    anchors, begins = [], []
    for number, array in enumerate(arrays):
        low = array & (_TABLE - 1)
        weights = np.zeros(len(array))
        if frequencies is not None:
            known = np.minimum(array, len(frequencies) - 1)
            weights = np.where(array < len(frequencies), np.log(frequencies[known] + 1.0), 0.0)
        anchor = 0
        if len(array) == 1:
            table[low[0]] |= 1 << _ALONE
        else:
            anchor = int(np.argmin(weights[:-1] + weights[1:]))
            bit = 1 << (number % _CLASSES)
            table[low[anchor]] |= bit
            table[low[anchor + 1]] |= bit << 8
            inner[low[:-1]] = True
        anchors.append((int(low[anchor]), number, anchor))
        begins.append((int(low[0]), number, 0))
    bounds, joined = _joined(arrays)
    longest = max(len(array) for array in arrays)
    by_low_bits = _by_low_bits(anchors), _by_low_bits(begins), _TABLE - 1
    return Matcher(longest, False, table, inner, *by_low_bits, bounds, joined, TokenBytes.of([]))


def text_matcher(patterns: Sequence[bytes], token_bytes: TokenBytes) -> Matcher:
    """Return a matcher of texts (UTF-8), each of at least one byte, in the bytes of tokens.

    A text matches wherever its bytes are, whatever the tokens that they are cut into: with or without a
    space before, in the middle of a token, across tokens. Raises ParameterError for an empty text.
    """
    if not patterns or any(len(pattern) == 0 for pattern in patterns):
        raise ParameterError("an empty text is everywhere; give at least one character")
    bounds, joined = _joined([np.frombuffer(pattern, np.uint8) for pattern in patterns])
    table = _new_table()
    arguments = (token_bytes.starts, token_bytes.content, bounds, joined, table)
    counts = _text_tables(*arguments, np.empty((0, 3), np.int64))
    entries = np.empty((int(counts.sum()), 3), np.int64)
    _text_tables(*arguments, entries)
    heads = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    inner = (table & np.uint16(0xFFFF ^ 1 << (_ALONE + 8))) != 0
    longest = max(len(pattern) for pattern in patterns)
    by_token = (heads, entries), (heads, entries), -1  # all bits of it
    return Matcher(longest, True, table, inner, *by_token, bounds, joined, token_bytes)
