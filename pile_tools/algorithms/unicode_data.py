"""Unicode character data: kinds of characters, lowering and decompositions, of one frozen version.

They come from ``unicode_15.tsv``, a constant of the package that ``tools/unicode_table.py`` wrote, and not
from the running Python: every Python has the same words. The table is parsed on first use.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASS_MASK",
    "CODE_MASK",
    "COMPOSES_BACK",
    "DECOMPOSITION_SHIFT",
    "IRREGULAR",
    "KIND_SHIFT",
    "MARK",
    "NORMALIZATIONS",
    "SINGLE",
    "UNICODE_VERSION",
    "UNSURE",
    "WORD",
    "Form",
    "FormTable",
    "Normalization",
    "character_table",
    "form_table",
]

UNICODE_VERSION = "15.0.0"
_TABLE_NAME = "unicode_15.tsv"
_N_CODES = sys.maxunicode + 1

Form = Literal["nfc", "nfkc"]
"""A normalisation form that composes (Unicode Standard Annex 15)."""
Normalization = Literal["nfc", "nfkc", "none"]
NORMALIZATIONS: tuple[Normalization, ...] = ("nfc", "nfkc", "none")

KIND_SHIFT = np.uint32(30)
CODE_MASK = np.uint32(0x1FFFFF)
WORD = np.uint32(1)
SINGLE = np.uint32(2)
MARK = np.uint32(3)
UNSURE = np.uint32(1 << 29)
_KINDS = {"word": WORD, "single": SINGLE, "mark": MARK}

# Hangul syllables are composed by arithmetic: of a leading consonant, a vowel and a trailing consonant.
_VOWELS = range(0x1161, 0x1176)
_TRAILING = range(0x11A8, 0x11C3)


@cache
def _records() -> dict[str, list[tuple[slice, list[str]]]]:
    """The lines of the table by their first field: which code points, and the further fields."""
    content = resources.files("pile_tools.algorithms").joinpath(_TABLE_NAME).read_text("utf-8")
    records: dict[str, list[tuple[slice, list[str]]]] = {}
    for line in content.splitlines():
        if not line.startswith("#"):
            tag, codes, *fields = line.split("\t")
            first, _, last = codes.partition("-")
            span = slice(int(first, 16), int(last or first, 16) + 1)
            records.setdefault(tag, []).append((span, fields))
    return records


@cache
def character_table(normalization: Normalization = "none") -> NDArray[np.uint32]:
    """Return for each code point its lowered code point and, in bits 30 and 31, its kind: uint32 [0x110000].

    Kinds: 0 no word character, 1 a word character, 2 a word alone, 3 a mark. Letters are lowered one by one,
    to the first character of their full lower case, and ς to σ. The entry of a character with which a text
    may not be in the form ``normalization`` is that of a mark, and ``UNSURE`` is set in it.
    """
    if normalization != "none":
        unsure = form_table(normalization).properties & (CLASS_MASK | IRREGULAR) != 0
        table = np.where(unsure, MARK << KIND_SHIFT | UNSURE, character_table())
        table.flags.writeable = False
        return table
    table = np.arange(_N_CODES, dtype=np.uint32)
    for span, (step, target) in _records()["lower"]:
        lowered = table[span.start : span.stop : int(step)]
        lowered += np.uint32((int(target, 16) - span.start) & 0xFFFFFFFF)  # a difference, modulo 2³²
    for span, (kind,) in _records()["kind"]:
        table[span] |= _KINDS[kind] << KIND_SHIFT
    table.flags.writeable = False
    return table


@dataclass(frozen=True, slots=True)
class FormTable:
    """What normalisation to one form needs.

    ``properties`` uint32 [0x110000]: the combining class (``CLASS_MASK``); ``IRREGULAR`` where a text with
    the character may not be in this form; ``COMPOSES_BACK`` where it may compose with one before it; and
    above ``DECOMPOSITION_SHIFT`` 1 plus the index of its decomposition, 0 for none. Decomposition i is
    ``codes[starts[i]:starts[i + 1]]``, in full. ``pairs`` uint64, ascending: first << 32 | second, composed
    to ``composites``.
    """

    properties: NDArray[np.uint32]
    starts: NDArray[np.int64]
    codes: NDArray[np.uint32]
    pairs: NDArray[np.uint64]
    composites: NDArray[np.uint32]


CLASS_MASK = np.uint32(0xFF)
IRREGULAR = np.uint32(1 << 8)
COMPOSES_BACK = np.uint32(1 << 9)
DECOMPOSITION_SHIFT = np.uint32(10)


def _mappings(tag: str) -> Iterator[tuple[int, list[int]]]:
    for span, fields in _records()[tag]:
        first, *rest = (int(field, 16) for field in fields)
        for code in range(span.start, span.stop):
            yield code, [first + code - span.start, *rest]


@cache
def form_table(form: Form) -> FormTable:
    """Return the table of ``form``."""
    canonical = dict(_mappings("canonical"))
    mappings = canonical | dict(_mappings("compatible")) if form == "nfkc" else canonical
    excluded = {code for span, _ in _records()["excluded"] for code in range(span.start, span.stop)}
    composed = {
        code: targets for code, targets in canonical.items() if len(targets) == 2 and code not in excluded
    }
    properties = np.zeros(_N_CODES, dtype=np.uint32)
    for span, (combining_class,) in _records()["class"]:
        properties[span] = int(combining_class)
    for second in (*_VOWELS, *_TRAILING, *(second for _, second in composed.values())):
        properties[second] |= IRREGULAR | COMPOSES_BACK

    def expand(code: int, by: dict[int, list[int]]) -> list[int]:
        return [code] if code not in by else [full for part in by[code] for full in expand(part, by)]

    full = {code: expand(code, mappings) for code in mappings}
    # A composite is regular where what it decomposes to composes to it again.
    irregular = [code for code in full if code not in composed or full[code] != expand(code, canonical)]
    properties[irregular] |= IRREGULAR
    properties[list(full)] |= np.arange(1, len(full) + 1, dtype=np.uint32) << DECOMPOSITION_SHIFT
    keys = {first << 32 | second: code for code, (first, second) in composed.items()}
    return FormTable(
        properties,
        np.cumsum([0, *map(len, full.values())]).astype(np.int64),
        np.array([code for codes in full.values() for code in codes], np.uint32),
        np.array(sorted(keys), np.uint64),
        np.array([keys[key] for key in sorted(keys)], np.uint32),
    )
