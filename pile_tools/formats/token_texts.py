"""The bytes that tokens stand for: all those of a byte-level tokenizer, single ones of another."""

import re

import orjson
import tokenizers

__all__ = ["byte_level_tokens", "fallback_bytes", "special_tokens", "stored_form"]


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 for its own bytes, characters from U+0100 on for the others."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    table = {chr(byte): byte for byte in own}
    return table | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def byte_level_tokens(tokenizer: tokenizers.Tokenizer, size: int) -> list[bytes] | None:
    """Return the bytes of the tokens 0 … ``size`` − 1, or None where decoding is not joining bytes.

    That is for tokenizers whose decoder is ``ByteLevel``: the text of a sequence is the UTF-8 of the joined
    bytes, U+FFFD for what is none. An id without a token has no bytes. A token with a character outside
    of the alphabet, an added one as a rule, stands for its own UTF-8, as in the `tokenizers` library.
    """
    decoder = orjson.loads(tokenizer.to_str()).get("decoder")
    if not decoder or decoder["type"] != "ByteLevel":
        return None
    table = _byte_of_character()
    found = []
    for number in range(size):
        token = tokenizer.id_to_token(number) or ""
        try:
            found.append(bytes([table[character] for character in token]))
        except KeyError:
            found.append(token.encode())
    return found


def fallback_bytes(tokenizer: tokenizers.Tokenizer) -> dict[int, int]:
    """Return the bytes of the tokens such as ``<0xE4>``, by id, that a ``ByteFallback`` decoder joins.

    A run of them is decoded as one: its UTF-8, or U+FFFD for each of its bytes where all of it is none.
    """
    decoder = orjson.loads(tokenizer.to_str()).get("decoder") or {}
    if "ByteFallback" not in [
        one["type"] for one in (decoder, *decoder.get("decoders", ())) if "type" in one
    ]:
        return {}
    tokens = tokenizer.get_vocab(with_added_tokens=True)
    matches = ((re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token), number) for token, number in tokens.items())
    return {number: int(match[1], 16) for match, number in matches if match}


def stored_form(tokenizer: tokenizers.Tokenizer, text: str) -> str:
    """Return the form in which ``text`` would have been stored: itself, unless normalising tells another."""
    if tokenizer.normalizer is None:
        return text
    stored = str(tokenizer.normalizer.normalize_str(text))
    # What normalising goes on changing, as one that sets a space before each text, tells no form.
    return stored if tokenizer.normalizer.normalize_str(stored) == stored else text


def special_tokens(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Return the ids of the special tokens, such as EOD, which stand for no text."""
    return sorted(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)
