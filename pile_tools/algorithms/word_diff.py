"""Two texts aligned word by word, for people to read.

Words are those of `words`, so that what is called the same is the same to the similarity. Between a common
beginning and end a longest common subsequence is found (Wagner and Fischer 1974); texts too long for its
table are first tied together where a run of words stands once in each (Cohen's patience diff).
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.algorithms.normalize import normalize_text
from pile_tools.algorithms.unicode_data import Normalization
from pile_tools.algorithms.words import split_words

__all__ = ["Stretch", "align_words", "mark_words"]

_TABLE_CELLS = 1 << 24
_LONGEST_RUN = 64

# A block: words i … i + length of one text are words j … j + length of the other.
_Block = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts of both texts that stand at the same place; end to end they are the texts.

    Where ``same`` is set both have the same words in the same order, perhaps none.
    """

    left: str
    right: str
    same: bool


@njit(cache=True, nogil=True)
def _common_subsequence(one: NDArray[np.int64], two: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of positions of a longest common subsequence, int64 [length, 2], ascending."""
    n, m = one.shape[0], two.shape[0]
    best = np.zeros((n + 1, m + 1), dtype=np.uint16)  # of what follows; at most min(n, m)
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            if one[i] == two[j]:
                best[i, j] = best[i + 1, j + 1] + np.uint16(1)
            else:
                best[i, j] = max(best[i + 1, j], best[i, j + 1])
    pairs = np.empty((np.int64(best[0, 0]), 2), dtype=np.int64)
    i, j, filled = 0, 0, 0
    while filled < pairs.shape[0]:
        if one[i] == two[j]:
            pairs[filled, 0], pairs[filled, 1] = i, j
            i, j, filled = i + 1, j + 1, filled + 1
        elif best[i + 1, j] >= best[i, j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _common_start(one: NDArray[np.int64], two: NDArray[np.int64]) -> int:
    n = min(len(one), len(two))
    differ = np.flatnonzero(one[:n] != two[:n])
    return int(differ[0]) if len(differ) else n


def _runs_found_once(one: NDArray[np.int64], two: NDArray[np.int64]) -> list[_Block]:
    """Blocks around runs of words that stand once in each text: the longest runs that there are."""
    # What stands between the texts keeps runs from crossing from one into the other.
    runs = np.concatenate([one, [max(one.max(), two.max()) + 1], two])
    levels = [runs]
    while 1 << len(levels) <= _LONGEST_RUN:
        runs, half = levels[-1], 1 << (len(levels) - 1)
        if len(runs) <= half:
            break
        pairs = runs[:-half] * (int(runs.max()) + 1) + runs[half:]
        levels.append(np.unique(pairs, return_inverse=True)[1].astype(np.int64))
    for level in range(len(levels) - 1, -1, -1):
        runs, length = levels[level], 1 << level
        left, right = runs[: max(0, len(one) - length + 1)], runs[len(one) + 1 :]
        size = int(runs.max()) + 1
        once = (np.bincount(left, minlength=size) == 1) & (np.bincount(right, minlength=size) == 1)
        if once.any():
            place = np.zeros(size, dtype=np.int64)
            place[right] = np.arange(len(right))
            at = np.flatnonzero(once[left])
            return _blocks(at, place[left[at]], length)
    return []


def _blocks(ones: NDArray[np.int64], twos: NDArray[np.int64], length: int) -> list[_Block]:
    """The most of the runs (``ones`` ascends) that ascend in both texts, as blocks without overlap."""
    starts = np.flatnonzero((np.diff(ones, prepend=-2) != 1) | (np.diff(twos, prepend=-2) != 1))
    lengths = np.diff(starts, append=len(ones)) - 1 + length
    runs = list(zip(ones[starts].tolist(), twos[starts].tolist(), lengths.tolist(), strict=True))
    ends: list[int] = []  # where the best chain of each length ends, in the other text
    last: list[int] = []  # and with which run
    before: list[int] = []
    for number, (_, j, _) in enumerate(runs):
        at = bisect_left(ends, j)
        before.append(last[at - 1] if at else -1)
        ends[at : at + 1], last[at : at + 1] = [j], [number]
    chain = []
    number = last[-1]
    while number >= 0:
        chain.append(runs[number])
        number = before[number]
    blocks: list[_Block] = []
    one_end = two_end = 0
    for i, j, size in reversed(chain):
        skip = max(one_end - i, two_end - j, 0)
        if skip < size:
            blocks.append((i + skip, j + skip, size - skip))
            one_end, two_end = i + size, j + size
    return blocks


def _matches(one: NDArray[np.int64], two: NDArray[np.int64]) -> Iterator[_Block]:
    """Blocks of equal words, ascending in both texts."""
    todo = [(0, len(one), 0, len(two))]
    while todo:
        a, b, c, d = todo.pop()
        start = _common_start(one[a:b], two[c:d])
        if start:
            yield a, c, start
            a, c = a + start, c + start
        end = _common_start(one[a:b][::-1], two[c:d][::-1])
        if end:
            # As a part of its own, so that it comes after what is between.
            todo.append((b - end, b, d - end, d))
            b, d = b - end, d - end
        if a == b or c == d:
            continue
        if (b - a + 1) * (d - c + 1) <= _TABLE_CELLS:
            for i, j in _common_subsequence(one[a:b], two[c:d]).tolist():
                yield a + i, c + j, 1
            continue
        blocks = _runs_found_once(one[a:b], two[c:d])
        # Texts that only repeat themselves are cut in the middle.
        blocks = blocks or [((b - a) // 2, (d - c) // 2, 0)]
        parts: list[tuple[int, int, int, int]] = []
        one_end, two_end = a, c
        for i, j, length in blocks:
            parts.append((one_end, a + i, two_end, c + j))
            one_end, two_end = a + i + length, c + j + length
            parts.append((a + i, one_end, c + j, two_end))
        todo += [(one_end, b, two_end, d), *reversed(parts)]


def _differences(one: NDArray[np.int64], two: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """The words ``one[a:b]`` and ``two[c:d]`` that are between the matches."""
    a = c = 0
    for i, j, length in _matches(one, two):
        if (i, j) != (a, c):
            yield a, i, c, j
        a, c = i + length, j + length
    if (a, c) != (len(one), len(two)):
        yield a, len(one), c, len(two)


def _place(text: str, starts: list[int], ends: list[int], a: int, b: int) -> tuple[int, int]:
    """Where words a … b of ``text`` stand, with the signs that no white space keeps from them."""
    start = starts[a] if a < len(starts) else len(text)
    if a == b:
        return start, start
    end = ends[b - 1]
    least = ends[a - 1] if a else 0
    most = starts[b] if b < len(starts) else len(text)
    while start > least and not text[start - 1].isspace():
        start -= 1
    while end < most and not text[end].isspace():
        end += 1
    return start, end


def _split_normalized(
    text: str, normalization: Normalization
) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The lowered words of ``text`` normalised, and where in ``text`` itself each begins and ends."""
    normal, origins = normalize_text(text, normalization)
    words, starts, ends = split_words(normal)
    after = np.append(origins, len(text))[ends]
    # Of a character that is normalised to several words each has all of it.
    return words, origins[starts], np.maximum(after, origins[starts] + 1)


def mark_words(text: str, opening: str, closing: str, normalization: Normalization = "nfc") -> str:
    """Return ``text`` with ``opening`` and ``closing`` around each of its words."""
    parts, done = [], 0
    _, starts, ends = _split_normalized(text, normalization)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start >= done:
            parts += [text[done:start], opening, text[start:end], closing]
            done = end
    return "".join([*parts, text[done:]])


def align_words(left: str, right: str, normalization: Normalization = "nfc") -> list[Stretch]:
    """Return the stretches of two texts in order: those with the same words and, between them, the others.

    Words are those of the texts in the form ``normalization``; the stretches are of the texts as they are.
    """
    split = [_split_normalized(left, normalization), _split_normalized(right, normalization)]
    numbers: dict[str, int] = {}
    one, two = (
        np.fromiter((numbers.setdefault(word, len(numbers)) for word in words), np.int64, len(words))
        for words, _, _ in split
    )
    places = [(starts.tolist(), ends.tolist()) for _, starts, ends in split]
    stretches = []
    done = (0, 0)
    for a, b, c, d in _differences(one, two):
        start, end = _place(left, *places[0], a, b)
        other_start, other_end = _place(right, *places[1], c, d)
        # One character may be several words in the form, some of them the same in both texts.
        start, other_start = max(start, done[0]), max(other_start, done[1])
        end, other_end = max(start, end), max(other_start, other_end)
        stretches.append(Stretch(left[done[0] : start], right[done[1] : other_start], True))
        stretches.append(Stretch(left[start:end], right[other_start:other_end], False))
        done = end, other_end
    stretches.append(Stretch(left[done[0] :], right[done[1] :], True))
    return [stretch for stretch in stretches if stretch.left or stretch.right]
