"""Normalisation by the frozen table, against `unicodedata` and against cases that are known."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.normalize import form_arrays, normalize_document, normalize_text
from pile_tools.algorithms.unicode_data import UNICODE_VERSION, Form, character_table, form_table
from tests.reference.unicode import KNOWN, border_texts, texts

FORMS: tuple[Form, ...] = ("nfc", "nfkc")


def normalized(text: str, form: Form) -> str:
    return normalize_document(np.frombuffer(text.encode(), np.uint8), form_arrays(form)).tobytes().decode()


@pytest.mark.parametrize("form", FORMS)
def test_every_code_point(form: Form) -> None:
    """Each alone and decomposed, between characters that nothing composes with."""
    for decomposed in (False, True):
        parts = [unicodedata.normalize("NFD", chr(code)) if decomposed else chr(code) for code in KNOWN]
        text = "\n".join(parts)
        assert normalized(text, form) == unicodedata.normalize(form.upper(), text)
    if unicodedata.unidata_version == UNICODE_VERSION:
        text = "\n".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
        assert normalized(text, form) == unicodedata.normalize(form.upper(), text)


@given(st.one_of(texts, border_texts), st.sampled_from(FORMS), st.text("a\nb", max_size=70))
def test_texts(text: str, form: Form, ascii_text: str) -> None:
    text = ascii_text + text + ascii_text
    expected = unicodedata.normalize(form.upper(), text)
    assert normalized(text, form) == expected
    normal, origins = normalize_text(text, form)
    assert normal == expected
    assert len(origins) == len(normal)
    assert all(0 <= origin < len(text) for origin in origins)


@given(st.text(alphabet="a\u0301\u0327\u0315\u0338\u05b0\u0345", min_size=20, max_size=200))
def test_long_runs_of_marks(text: str) -> None:
    for form in FORMS:
        assert normalized(text, form) == unicodedata.normalize(form.upper(), text)


@pytest.mark.parametrize(
    ("text", "nfc", "nfkc"),
    [
        ("D\u0307\u0323", "\u1e0c\u0307", "\u1e0c\u0307"),
        ("\u1e0a\u0323", "\u1e0c\u0307", "\u1e0c\u0307"),
        ("\u212b\u2126", "\u00c5\u03a9", "\u00c5\u03a9"),
        ("\u1e9b\u0323", "\u1e9b\u0323", "\u1e69"),
        ("\ufb01 \u00bd \u338f", "\ufb01 \u00bd \u338f", "fi 1\u20442 kg"),
        ("\u0958", "\u0915\u093c", "\u0915\u093c"),
        ("\u1100\u1161\u11a8", "\uac01", "\uac01"),
        ("\uac00\u11a7", "\uac00\u11a7", "\uac00\u11a7"),
        ("\u304b\u3099", "\u304c", "\u304c"),
        ("\u0bc6\u0bbe", "\u0bca", "\u0bca"),
        ("a\u0300\u0301b", "\u00e0\u0301b", "\u00e0\u0301b"),
        ("\U0001d15e", "\U0001d157\U0001d165", "\U0001d157\U0001d165"),
        ("\u0344", "\u0308\u0301", "\u0308\u0301"),
    ],
)
def test_known_cases(text: str, nfc: str, nfkc: str) -> None:
    assert (normalized(text, "nfc"), normalized(text, "nfkc")) == (nfc, nfkc)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_is_sure_only_of_texts_that_stay_as_they_are(form: Form) -> None:
    sure = np.flatnonzero(character_table(form) == character_table())
    rest = np.flatnonzero(character_table(form) != character_table())
    properties = form_table(form).properties
    assert not properties[sure][properties[sure] & 0x3FF != 0].size
    assert (properties[rest] & 0x1FF != 0).all()
    assert (character_table(form)[:128] == character_table()[:128]).all()
