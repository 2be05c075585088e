"""Word scanner: what a word is, for deduplication, term counts and aligned texts.

A word is a longest run of ``\\w`` characters and of the combining marks (Unicode's categories M*) that follow
them, such as the vowel signs of Hindi. A Han, Hiragana or Katakana character, with its marks, is a word
alone. Letters are lowered one by one. Kinds and lowering come from `unicode_data`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.algorithms.unicode_data import (
    CODE_MASK,
    KIND_SHIFT,
    MARK,
    SINGLE,
    UNSURE,
    WORD,
    character_table,
)

__all__ = [
    "WORD_SEED",
    "decode",
    "finish_hash",
    "scan_words",
    "split_term",
    "split_words",
    "word_hashes",
]

_WORD_ENTRY = np.uint32(1 << 30)
_REPLACEMENT = np.uint32(0xFFFD)

WORD_SEED = np.uint64(0x5851F42D4C957F2D)
"""Hash of a word before its first character."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


def _word_spans(text: str) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Entries of the characters of ``text`` in the table, and where its words begin and end."""
    entries = character_table()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]
    kind = entries >> KIND_SHIFT
    # A mark takes the kind of the character that the marks before it are on.
    base = np.where(kind == MARK, 0, np.arange(len(kind)))
    on = kind[np.maximum.accumulate(base)]
    inside = (on == WORD) | (on == SINGLE)
    goes_on = np.append(False, on[:-1] == WORD)
    starts = (kind == SINGLE) | ((kind == WORD) & ~goes_on)
    ends = inside & np.append(starts[1:] | ~inside[1:], True)
    return entries, np.flatnonzero(starts), np.flatnonzero(ends) + 1


def split_term(term: str) -> tuple[list[str], str]:
    """Return the words of ``term`` as they are written, and its characters in none but white space."""
    _, starts, ends = _word_spans(term)
    words = [term[start:end] for start, end in zip(starts, ends, strict=True)]
    between = zip([0, *ends], [*starts, len(term)], strict=True)
    return words, "".join("".join(term[start:end].split()) for start, end in between)


def split_words(text: str) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowered words of ``text`` in order, and where in ``text`` each begins and ends."""
    entries, starts, ends = _word_spans(text)
    lowered = (entries & CODE_MASK).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    words = [lowered[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return words, starts, ends


@njit(cache=True, nogil=True)
def finish_hash(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finalizer: a bijection; the products wrap modulo 2⁶⁴."""
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xFF51AFD7ED558CCD))
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xC4CEB9FE1A85EC53))
    return np.uint64(h ^ (h >> np.uint64(33)))


@njit(cache=True, nogil=True)
def decode(text: NDArray[np.uint8], position: int, end: int) -> tuple[np.uint32, int]:
    """Code point and length of the character of several bytes at ``position``; U+FFFD for invalid ones."""
    code = np.uint32(text[position])
    size = 2 if code < np.uint32(0xE0) else (3 if code < np.uint32(0xF0) else 4)
    if position + size > end:
        return _REPLACEMENT, end - position
    code = code & np.uint32(0xFF >> (size + 1))
    for i in range(1, size):
        code = (code << np.uint32(6)) | np.uint32(text[position + i] & np.uint8(0x3F))
    return (code if code <= np.uint32(0x10FFFF) else _REPLACEMENT), size


@njit(cache=True, nogil=True)
def _step(h: np.uint64, code: np.uint32) -> np.uint64:
    h = np.uint64(np.uint64(h ^ np.uint64(code)) * _STEP)
    return np.uint64(h ^ (h >> np.uint64(32)))


@njit(cache=True, nogil=True)
def scan_words(
    text: NDArray[np.uint8],
    position: int,
    end: int,
    table: NDArray[np.uint32],
    h: np.uint64,
    inside: bool,
    words: NDArray[np.uint64],
) -> tuple[int, int, np.uint64, bool]:
    """Put the hashes of the words of ``text[position:end]`` into ``words``, until it is full but for two.

    Return where to go on, how many words were put, and the state of a word that has not ended: its hash
    so far and whether there is one. A document begins with ``WORD_SEED`` and False; where it ends inside a
    word, that word's hash is the returned one. ``finish_hash`` completes every hash. With a table that has
    ``UNSURE`` entries the scan stops before such a character: short of ``end``, with room left in ``words``.

    ``text`` is valid UTF-8; what is not is read as U+FFFD. The hash of a word with lowered code points c:
    h ← (h xor c)·K, h ← h xor h >> 32 for each of them, then ``finish_hash``; products wrap modulo 2⁶⁴.
    """
    filled, single_end = 0, -1
    room = words.shape[0] - 2
    while position < end and filled < room:
        byte = text[position]
        if byte < np.uint8(0x80):
            # Without a branch on what the character is: the ends of words cannot be predicted.
            entry = table[byte]
            is_word = entry >= _WORD_ENTRY
            words[filled] = h
            filled += inside and not is_word
            stepped = _step(h, entry & CODE_MASK)
            h = stepped if is_word else WORD_SEED
            inside = is_word
            position += 1
            continue
        code, size = decode(text, position, end)
        entry = table[code]
        kind = entry >> KIND_SHIFT
        if kind == WORD:
            h = _step(h, entry & CODE_MASK)
            inside = True
            position += size
            continue
        if kind == MARK:
            if entry & UNSURE:
                break
            if inside:
                h = _step(h, entry & CODE_MASK)
            elif position == single_end:
                words[filled - 1] = _step(words[filled - 1], entry & CODE_MASK)
                single_end += size
            position += size
            continue
        position += size
        words[filled] = h
        filled += inside
        h = WORD_SEED
        inside = False
        if kind == SINGLE:
            words[filled] = _step(h, entry & CODE_MASK)
            filled += 1
            single_end = position
    # Marks of a character that is a word alone belong to it, so the scan does not end before them.
    while position == single_end and position < end and text[position] >= np.uint8(0x80):
        code, size = decode(text, position, end)
        entry = table[code]
        if entry & UNSURE or entry >> KIND_SHIFT != MARK:
            break
        words[filled - 1] = _step(words[filled - 1], entry & CODE_MASK)
        position += size
        single_end = position
    return position, filled, h, inside


@njit(cache=True, nogil=True)
def word_hashes(text: NDArray[np.uint8], table: NDArray[np.uint32], words: NDArray[np.uint64]) -> int:
    """Put the hashes of the words of ``text``, without ``finish_hash``, into ``words``; return how many.

    ``table`` is ``character_table``, and ``words`` has room for three more than bytes.
    """
    _, filled, h, inside = scan_words(text, 0, len(text), table, WORD_SEED, False, words)
    words[filled] = h
    return filled + inside
