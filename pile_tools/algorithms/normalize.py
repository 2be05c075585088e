"""Unicode normalisation of UTF-8 (NFC and NFKC, Unicode Standard Annex 15) by one frozen version of Unicode.

Only the stretches around irregular characters are rewritten: each begins at a character that never composes
with one before it and goes on to the next such character. All other bytes are copied.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.algorithms.unicode_data import (
    CLASS_MASK,
    COMPOSES_BACK,
    DECOMPOSITION_SHIFT,
    IRREGULAR,
    Normalization,
    form_table,
)
from pile_tools.algorithms.words import decode

__all__ = ["FormArrays", "form_arrays", "normalize_document", "normalize_text"]

FormArrays = tuple[
    NDArray[np.uint32], NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint32]
]
"""The arrays of a `FormTable`, as kernels take them: properties, starts, codes, pairs, composites."""

_Text = NDArray[np.uint8]
_Codes = NDArray[np.uint32]

_BLOCK = 32  # bytes that are looked at together: ASCII needs no more than that
_LONG_RUN = 16  # marks in a row from which on insertion is slower than sorting

_L, _V, _T, _S = np.uint32(0x1100), np.uint32(0x1161), np.uint32(0x11A7), np.uint32(0xAC00)
_L_COUNT, _V_COUNT, _T_COUNT = np.uint32(19), np.uint32(21), np.uint32(28)
_N_COUNT, _S_COUNT = np.uint32(588), np.uint32(11172)


@njit(cache=True, nogil=True)
def _next_irregular(text: _Text, position: int, end: int, properties: _Codes) -> tuple[int, int]:
    """Where the first character is that may not be in the form, and where its stretch begins; −1 for none.

    ``position`` is where a stretch may begin.
    """
    stretch, before = position, np.uint32(0)
    while position < end:
        if text[position] < np.uint8(0x80):
            # One of few, a space between words say, is not worth a look at a block.
            while position + _BLOCK <= end and text[position + 1] < np.uint8(0x80):
                high = np.uint8(0)
                for i in range(_BLOCK):
                    high |= text[position + i]
                if high >= np.uint8(0x80):
                    break
                position += _BLOCK
            while position < end and text[position] < np.uint8(0x80):
                position += 1
            stretch, before = position - 1, np.uint32(0)
            continue
        code, size = decode(text, position, end)
        entry = properties[code] & (CLASS_MASK | IRREGULAR)
        if entry == 0:
            stretch, before = position, np.uint32(0)
        elif entry & IRREGULAR or entry < before:
            return position, stretch
        else:
            before = entry
        position += size
    return -1, -1


@njit(cache=True, nogil=True)
def _stretch_end(text: _Text, position: int, end: int, properties: _Codes) -> int:
    """Where the next character is, from ``position`` on, that never composes with one before it."""
    while position < end and text[position] >= np.uint8(0x80):
        code, size = decode(text, position, end)
        if properties[code] & (CLASS_MASK | IRREGULAR) == 0:
            break
        position += size
    return position


@njit(cache=True, nogil=True)
def _decompose(
    codes: _Codes, properties: _Codes, starts: NDArray[np.int64], full: _Codes
) -> tuple[_Codes, NDArray[np.int64]]:
    """The characters of full decompositions, and the index in ``codes`` that each is from."""
    size = 0
    for code in codes:
        which = properties[code] >> DECOMPOSITION_SHIFT
        size += 3 if _S <= code < _S + _S_COUNT else (starts[which] - starts[which - 1] if which else 1)
    out, origins = np.empty(size, np.uint32), np.empty(size, np.int64)
    filled = 0
    for index in range(codes.shape[0]):
        code, first = codes[index], filled
        which = np.int64(properties[code] >> DECOMPOSITION_SHIFT)
        if _S <= code < _S + _S_COUNT:
            syllable = np.uint32(code - _S)
            out[filled] = _L + syllable // _N_COUNT
            out[filled + 1] = _V + syllable % _N_COUNT // _T_COUNT
            filled += 2
            if syllable % _T_COUNT:
                out[filled] = _T + syllable % _T_COUNT
                filled += 1
        elif which:
            for i in range(starts[which - 1], starts[which]):
                out[filled] = full[i]
                filled += 1
        else:
            out[filled] = code
            filled += 1
        origins[first:filled] = index
    return out[:filled], origins[:filled]


@njit(cache=True, nogil=True)
def _order_marks(codes: _Codes, origins: NDArray[np.int64], properties: _Codes) -> None:
    """Sort each run of characters with combining classes by class, stably and in place."""
    start = 0
    while start < codes.shape[0]:
        stop = start
        while stop < codes.shape[0] and properties[codes[stop]] & CLASS_MASK:
            stop += 1
        if stop - start > _LONG_RUN:
            classes = np.empty(stop - start, np.uint8)
            for i in range(start, stop):
                classes[i - start] = properties[codes[i]] & CLASS_MASK
            order = start + np.argsort(classes, kind="mergesort")
            codes[start:stop], origins[start:stop] = codes[order], origins[order]
        else:
            for i in range(start + 1, stop):
                code, origin, j = codes[i], origins[i], i
                while j > start and properties[codes[j - 1]] & CLASS_MASK > properties[code] & CLASS_MASK:
                    codes[j], origins[j] = codes[j - 1], origins[j - 1]
                    j -= 1
                codes[j], origins[j] = code, origin
        start = max(stop, start + 1)


@njit(cache=True, nogil=True)
def _composite(
    first: np.uint32,
    second: np.uint32,
    properties: _Codes,
    pairs: NDArray[np.uint64],
    composites: _Codes,
) -> np.uint32:
    """The character that two compose to; 0 for none."""
    if not properties[second] & COMPOSES_BACK:
        return np.uint32(0)
    if _L <= first < _L + _L_COUNT and _V <= second < _V + _V_COUNT:
        return np.uint32(_S + (first - _L) * _N_COUNT + (second - _V) * _T_COUNT)
    if _S <= first < _S + _S_COUNT and (first - _S) % _T_COUNT == 0 and _T < second < _T + _T_COUNT:
        return np.uint32(first + (second - _T))
    key = np.uint64(first) << np.uint64(32) | np.uint64(second)
    low, high = 0, pairs.shape[0]
    while low < high:
        middle = (low + high) // 2
        if pairs[middle] < key:
            low = middle + 1
        else:
            high = middle
    return composites[low] if low < pairs.shape[0] and pairs[low] == key else np.uint32(0)


@njit(cache=True, nogil=True)
def _normalize_codes(
    codes: _Codes,
    properties: _Codes,
    starts: NDArray[np.int64],
    full: _Codes,
    pairs: NDArray[np.uint64],
    composites: _Codes,
) -> tuple[_Codes, NDArray[np.int64]]:
    """The normalised characters, and the index in ``codes`` that each begins with."""
    out, origins = _decompose(codes, properties, starts, full)
    _order_marks(out, origins, properties)
    starter, filled, before = -1, 0, np.uint32(0)
    for i in range(out.shape[0]):
        code, origin = out[i], origins[i]
        own = properties[code] & CLASS_MASK
        # Between a starter and what it composes with are only lower classes.
        if starter >= 0 and (filled - 1 == starter or before < own):
            composite = _composite(out[starter], code, properties, pairs, composites)
            if composite:
                out[starter] = composite
                continue
        out[filled], origins[filled] = code, origin
        if own == 0:
            starter = filled
        before = own
        filled += 1
    return out[:filled], origins[:filled]


@njit(cache=True, nogil=True)
def _encode(code: np.uint32, out: _Text, filled: int) -> int:
    if code < np.uint32(0x80):
        out[filled] = code
        return filled + 1
    size = 2 if code < np.uint32(0x800) else (3 if code < np.uint32(0x10000) else 4)
    for i in range(size - 1, 0, -1):
        out[filled + i] = np.uint32(0x80) | (code & np.uint32(0x3F))
        code = np.uint32(code >> np.uint32(6))
    out[filled] = (np.uint32(0xF00) >> np.uint32(size) & np.uint32(0xFF)) | code
    return filled + size


@njit(cache=True, nogil=True)
def _decode_all(text: _Text, position: int, end: int) -> _Codes:
    codes = np.empty(end - position, np.uint32)
    count = 0
    while position < end:
        if text[position] < np.uint8(0x80):
            codes[count], size = np.uint32(text[position]), 1
        else:
            codes[count], size = decode(text, position, end)
        position += size
        count += 1
    return codes[:count]


@njit(cache=True, nogil=True)
def _with_room(out: _Text, filled: int, more: int) -> _Text:
    if filled + more <= out.shape[0]:
        return out
    larger = np.empty(max(filled + more, out.shape[0] * 2), np.uint8)
    larger[:filled] = out[:filled]
    return larger


@njit(cache=True, nogil=True)
def normalize_document(text: _Text, form: FormArrays) -> _Text:
    """Return a copy of the UTF-8 ``text`` in a form."""
    properties, starts, full, pairs, composites = form
    out = np.empty(text.shape[0], np.uint8)
    filled, copied, position, end = 0, 0, 0, text.shape[0]
    while position < end:
        irregular, stretch = _next_irregular(text, position, end, properties)
        if irregular < 0:
            break
        position = _stretch_end(text, irregular, end, properties)
        codes, _ = _normalize_codes(
            _decode_all(text, stretch, position), properties, starts, full, pairs, composites
        )
        out = _with_room(out, filled, stretch - copied + 4 * codes.shape[0])
        out[filled : filled + stretch - copied] = text[copied:stretch]
        filled += stretch - copied
        for code in codes:
            filled = _encode(code, out, filled)
        copied = position
    out = _with_room(out, filled, end - copied)
    out[filled : filled + end - copied] = text[copied:end]
    return out[: filled + end - copied]


def form_arrays(normalization: Normalization) -> FormArrays:
    """Return what `normalize_document` needs; for "none" arrays that are not looked at."""
    table = form_table("nfc" if normalization == "none" else normalization)
    return table.properties, table.starts, table.codes, table.pairs, table.composites


def normalize_text(text: str, form: Normalization) -> tuple[str, NDArray[np.int64]]:
    """Return ``text`` in ``form``, and the index in ``text`` that each of its characters begins at."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32)
    if form == "none" or text.isascii():
        return text, np.arange(len(text))
    out, origins = _normalize_codes(codes, *form_arrays(form))
    return out.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), origins
