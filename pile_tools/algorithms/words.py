"""What a word is: a longest run of Python's ``\\w`` characters.

A Han, Hiragana or Katakana character is a word alone. Letters are lowered one by one, to the first
character of their ``str.lower`` (simple lower-casing). The classes of all code points come from the
running Python's Unicode database, whose version (``UNICODE_VERSION``) therefore belongs in a manifest.

The words of terms that are counted are these with two more rules, for which shingles are frozen: combining
marks (Unicode's categories M*), which are not ``\\w``, go on the word that they follow, as the vowel signs of
Hindi do; and ς is lowered to σ, so that a Greek word has the same letters in capitals.
"""

import re
import sys
import unicodedata
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "UNICODE_VERSION",
    "WORD_SEED",
    "character_table",
    "finish_hash",
    "scan_words",
    "split_term",
    "split_words",
    "term_character_table",
    "term_word_hashes",
]

UNICODE_VERSION = unicodedata.unidata_version

# Word characters whose script (or one of whose scripts) is Han, Hiragana or Katakana, by the
# beginnings of their Unicode names.
_SINGLE_NAMES = (
    "CJK COMPATIBILITY IDEOGRAPH-",
    "CJK UNIFIED IDEOGRAPH-",
    "HALFWIDTH KATAKANA",
    "HANGZHOU NUMERAL",
    "HENTAIGANA ",
    "HIRAGANA ",
    "IDEOGRAPHIC CLOSING MARK",
    "IDEOGRAPHIC ITERATION MARK",
    "IDEOGRAPHIC NUMBER ZERO",
    "KATAKANA ",
    "KATAKANA-HIRAGANA ",
    "MASU MARK",
    "VERTICAL IDEOGRAPHIC ITERATION MARK",
    "VERTICAL KANA REPEAT ",
)

_KIND_SHIFT = np.uint32(30)
_CODE_MASK = np.uint32(0x1FFFFF)
_WORD = np.uint32(1)
_SINGLE = np.uint32(2)
_MARK = np.uint32(3)

_WORD_ENTRY = np.uint32(1 << 30)
_REPLACEMENT = np.uint32(0xFFFD)

WORD_SEED = np.uint64(0x5851F42D4C957F2D)
"""Hash of a word before its first character."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


@cache
def character_table() -> NDArray[np.uint32]:
    """Return for each code point its lowered code point and, in bits 30 and 31, its kind: uint32 [0x110000].

    Kinds: 0 no word character, 1 a word character, 2 a word alone.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    characters = re.findall(r"\w", table.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"))
    codes = np.fromiter(map(ord, characters), np.int64, len(characters))
    lowered = np.fromiter((ord(c.lower()[0]) for c in characters), np.uint32, len(characters))
    single = [unicodedata.name(c, "").startswith(_SINGLE_NAMES) for c in characters]
    table[codes] = lowered | np.where(single, _SINGLE, _WORD) << _KIND_SHIFT
    table.flags.writeable = False
    return table


@cache
def term_character_table() -> NDArray[np.uint32]:
    """Return ``character_table`` as terms have it; a fourth kind, 3, is a mark, part of a word before it."""
    table = character_table().copy()
    marks = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    table[marks] = np.array(marks, np.uint32) | _MARK << _KIND_SHIFT
    table[ord("ς")] = table[ord("σ")]
    table.flags.writeable = False
    return table


def split_term(term: str) -> tuple[list[str], str]:
    """Return the words of ``term`` as they are written, and its characters in none but white space."""
    words: list[str] = []
    others: list[str] = []
    goes_on = False  # whether a letter would go on the last word
    is_word = False  # whether the character before is in it
    table = term_character_table()
    for character in term:
        kind = table[ord(character)] >> _KIND_SHIFT
        if (kind == _WORD and goes_on) or (kind == _MARK and is_word):
            words[-1] += character
            continue
        is_word = kind in (_WORD, _SINGLE)
        goes_on = kind == _WORD
        if is_word:
            words.append(character)
        elif not character.isspace():
            others.append(character)
    return words, "".join(others)


def split_words(text: str) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowered words of ``text`` in order, and where in ``text`` each begins and ends."""
    entries = character_table()[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]
    kind = entries >> _KIND_SHIFT
    inside = kind == _WORD  # a character that may go on a word
    starts = (kind == _SINGLE) | (inside & ~np.append(False, inside[:-1]))
    ends = (kind == _SINGLE) | (inside & ~np.append(inside[1:], False))
    first, last = np.flatnonzero(starts), np.flatnonzero(ends) + 1
    lowered = (entries & _CODE_MASK).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    words = [lowered[a:b] for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    return words, first, last


@njit(cache=True, nogil=True)
def finish_hash(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finalizer: a bijection; the products wrap modulo 2⁶⁴."""
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xFF51AFD7ED558CCD))
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xC4CEB9FE1A85EC53))
    return np.uint64(h ^ (h >> np.uint64(33)))


@njit(cache=True, nogil=True)
def _decode(text: NDArray[np.uint8], position: int, end: int) -> tuple[np.uint32, int]:
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
    word, that word's hash is the returned one. ``finish_hash`` completes every hash.

    ``text`` is valid UTF-8; what is not is read as U+FFFD. The hash of a word with lowered code points c:
    h ← (h xor c)·K, h ← h xor h >> 32 for each of them, then ``finish_hash``; products wrap modulo 2⁶⁴.
    """
    filled = 0
    room = words.shape[0] - 2
    while position < end and filled < room:
        byte = text[position]
        if byte < np.uint8(0x80):
            # Without a branch on what the character is: the ends of words cannot be predicted.
            entry = table[byte]
            is_word = entry >= _WORD_ENTRY
            words[filled] = h
            filled += inside and not is_word
            stepped = _step(h, entry & _CODE_MASK)
            h = stepped if is_word else WORD_SEED
            inside = is_word
            position += 1
            continue
        code, size = _decode(text, position, end)
        position += size
        entry = table[code]
        kind = entry >> _KIND_SHIFT
        if kind == _WORD:
            h = _step(h, entry & _CODE_MASK)
            inside = True
            continue
        words[filled] = h
        filled += inside
        h = WORD_SEED
        inside = False
        if kind == _SINGLE:
            words[filled] = _step(h, entry & _CODE_MASK)
            filled += 1
    return position, filled, h, inside


@njit(cache=True, nogil=True)
def term_word_hashes(text: NDArray[np.uint8], table: NDArray[np.uint32], words: NDArray[np.uint64]) -> int:
    """Put the hashes of the words of ``text``, as terms have them, into ``words``; return how many.

    ``table`` is ``term_character_table``, and ``words`` has room for one more than bytes. The hashes are
    those of ``scan_words``, without ``finish_hash``.
    """
    position, filled = 0, 0
    h, inside = WORD_SEED, False
    while position < len(text):
        byte = text[position]
        if byte < np.uint8(0x80):
            entry = table[byte]
            is_word = entry >= _WORD_ENTRY
            words[filled] = h
            filled += inside and not is_word
            stepped = _step(h, entry & _CODE_MASK)
            h = stepped if is_word else WORD_SEED
            inside = is_word
            position += 1
            continue
        code, size = _decode(text, position, len(text))
        position += size
        entry = table[code]
        kind = entry >> _KIND_SHIFT
        if kind == _WORD or (kind == _MARK and inside):
            h = _step(h, entry & _CODE_MASK)
            inside = True
            continue
        words[filled] = h
        filled += inside
        h = WORD_SEED
        inside = False
        if kind == _SINGLE:
            single = _step(h, entry & _CODE_MASK)
            while position < len(text) and text[position] >= np.uint8(0x80):
                code, size = _decode(text, position, len(text))
                entry = table[code]
                if entry >> _KIND_SHIFT != _MARK:
                    break
                single = _step(single, entry & _CODE_MASK)
                position += size
            words[filled] = single
            filled += 1
    if inside:
        words[filled] = h
        filled += 1
    return filled
