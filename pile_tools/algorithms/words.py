"""What a word is: a longest run of Python's ``\\w`` characters.

A Han, Hiragana or Katakana character is a word alone. Letters are lowered one by one, to the first
character of their ``str.lower`` (simple lower-casing). The classes of all code points come from the
running Python's Unicode database, whose version (``UNICODE_VERSION``) therefore belongs in a manifest.
"""

import sys
import unicodedata
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["UNICODE_VERSION", "character_table", "finish_hash", "next_word"]

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

_REPLACEMENT = np.uint32(0xFFFD)
_SEED = np.uint64(0x5851F42D4C957F2D)
_STEP = np.uint64(0x9E3779B97F4A7C15)


@cache
def character_table() -> NDArray[np.uint32]:
    """Return for each code point its lowered code point and, in bits 30 and 31, its kind: uint32 [0x110000].

    Kinds: 0 no word character, 1 a word character, 2 a word alone.
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if character.isalnum() or character == "_":
            single = unicodedata.name(character, "").startswith(_SINGLE_NAMES)
            kind = _SINGLE if single else _WORD
            table[code] = ord(character.lower()[0]) | int(kind) << int(_KIND_SHIFT)
    table.flags.writeable = False
    return table


@njit(cache=True, nogil=True)
def finish_hash(h: np.uint64) -> np.uint64:
    """MurmurHash3's 64-bit finalizer: a bijection; the products wrap modulo 2⁶⁴."""
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xFF51AFD7ED558CCD))
    h = np.uint64(h ^ (h >> np.uint64(33)))
    h = np.uint64(h * np.uint64(0xC4CEB9FE1A85EC53))
    return np.uint64(h ^ (h >> np.uint64(33)))


@njit(cache=True, nogil=True)
def next_word(
    text: NDArray[np.uint8], position: int, end: int, table: NDArray[np.uint32]
) -> tuple[int, np.uint64, bool]:
    """Return where the first word of ``text[position:end]`` ends, its hash, and whether there is one.

    ``text`` is valid UTF-8; what is not is read as U+FFFD. The hash of a word with lowered code points c:
    h ← (h xor c)·K, h ← h xor h >> 32 for each of them, then ``finish_hash``; products wrap modulo 2⁶⁴.
    """
    h = _SEED
    inside = False
    while position < end:
        code = np.uint32(text[position])
        size = 1
        if code >= np.uint32(0x80):
            size = 2 if code < np.uint32(0xE0) else (3 if code < np.uint32(0xF0) else 4)
            if position + size > end:
                size = end - position
                code = _REPLACEMENT
            else:
                code = code & np.uint32(0xFF >> (size + 1))
                for i in range(1, size):
                    code = (code << np.uint32(6)) | np.uint32(text[position + i] & np.uint8(0x3F))
                if code > np.uint32(0x10FFFF):
                    code = _REPLACEMENT
        entry = table[code]
        kind = entry >> _KIND_SHIFT
        if kind == _WORD or (kind == _SINGLE and not inside):
            h = np.uint64(np.uint64(h ^ np.uint64(entry & _CODE_MASK)) * _STEP)
            h = np.uint64(h ^ (h >> np.uint64(32)))
            inside = True
            position += size
            if kind == _SINGLE:
                break
        elif inside:
            break
        else:
            position += size
    return position, finish_hash(h), inside
