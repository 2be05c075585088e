"""The bytes of tokens against what the tokenizers library decodes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from pile_tools.formats.token_texts import byte_level_tokens, fallback_bytes, stored_form

SHARED = Path(__file__).parents[3] / "shared" / "tokenizer" / "20B_tokenizer.json"


def small_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    # Added tokens of every kind: all in the alphabet, none in it, and some characters of each.
    tokenizer.add_tokens(["   ", "é", "日本", "Ġa b", "ab"])
    return tokenizer


def check(tokenizer: Tokenizer, ids: list[int]) -> None:
    tokens = byte_level_tokens(tokenizer, tokenizer.get_vocab_size() + 3)
    assert tokens is not None
    text = b"".join(tokens[number] for number in ids).decode(errors="replace")
    assert text == tokenizer.decode(ids, skip_special_tokens=False)


@given(st.lists(st.integers(0, 263), max_size=30))
def test_joined_bytes_are_what_is_decoded(ids: list[int]) -> None:
    check(small_tokenizer(), ids)


def test_every_token_of_gpt_neox() -> None:
    if not SHARED.is_file():
        pytest.skip("the shared tokenizer is not here")
    tokenizer = Tokenizer.from_file(str(SHARED))
    tokens = byte_level_tokens(tokenizer, tokenizer.get_vocab_size())
    assert tokens is not None
    for number, token in enumerate(tokens):
        assert token.decode(errors="replace") == tokenizer.decode([number], skip_special_tokens=False)
    text = "naïve  日本語\t\t<|endoftext|>\n    x = 1"
    assert b"".join(tokens[number] for number in tokenizer.encode(text).ids).decode() == text


def test_other_decoders_have_no_bytes_of_their_own() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, "a"))
    assert byte_level_tokens(tokenizer, 1) is None
    tokenizer.decoder = decoders.WordPiece()
    assert byte_level_tokens(tokenizer, 1) is None


def test_the_form_in_which_text_is_stored() -> None:
    tokenizer = small_tokenizer()
    assert stored_form(tokenizer, "e\u0301") == "e\u0301"
    tokenizer.normalizer = normalizers.NFC()
    assert stored_form(tokenizer, "e\u0301") == "é"
    tokenizer.normalizer = normalizers.Prepend("▁")  # each time one more: that is no form
    assert stored_form(tokenizer, "é") == "é"


def test_tokens_that_are_bytes_of_a_character() -> None:
    vocabulary = {"<unk>": 0, "<0xE4>": 1, "<0xb8>": 2, "<0xAD>": 3, "<0x1>": 4, "<0xAG>": 5}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    assert fallback_bytes(tokenizer) == {}
    tokenizer.decoder = decoders.Fuse()
    assert fallback_bytes(tokenizer) == {}
    for decoder in (decoders.ByteFallback(), decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])):
        tokenizer.decoder = decoder
        assert fallback_bytes(tokenizer) == {1: 0xE4, 2: 0xB8, 3: 0xAD}
        assert tokenizer.decode([1, 2, 3]) == "中"
        assert tokenizer.decode([1, 2, 4]).startswith("��")
