"""The table of characters, against Python's own."""

import unicodedata

from pile_tools.algorithms.text.unicode_data import CODE_MASK, KIND_SHIFT, character_table
from tests.reference import dedup as oracle
from tests.reference.unicode import KNOWN


def test_every_code_point_is_what_the_oracle_says() -> None:
    table = character_table()
    kinds, lowered = (table >> KIND_SHIFT).tolist(), (table & CODE_MASK).tolist()
    for code in KNOWN:
        character = chr(code)
        if unicodedata.category(character).startswith("M"):
            assert kinds[code] == 3, hex(code)
            continue
        # A character that is a word alone makes two words of itself twice.
        words = oracle.words(character * 2, "none")
        assert len(words) == kinds[code], hex(code)
        assert not words or words[0][0] == chr(lowered[code]), hex(code)


def test_lowering_keeps_the_kind() -> None:
    table = character_table()
    assert (table[table & CODE_MASK] >> KIND_SHIFT == table >> KIND_SHIFT).all()
