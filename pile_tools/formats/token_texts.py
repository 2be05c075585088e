"""The bytes that each token of a byte-level tokenizer stands for."""

import orjson
import tokenizers

__all__ = ["byte_level_tokens", "normalized", "special_tokens"]


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


def normalized(tokenizer: tokenizers.Tokenizer, text: str) -> str:
    """Return ``text`` as the tokenizer normalises it before it cuts it into tokens."""
    return text if tokenizer.normalizer is None else str(tokenizer.normalizer.normalize_str(text))


def special_tokens(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Return the ids of the special tokens, such as EOD, which stand for no text."""
    return sorted(number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special)
