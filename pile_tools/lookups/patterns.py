"""What is sought: texts or sequences of token ids, checked and compiled for each tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.array_types import Tokens
from pile_tools.algorithms.search.token_search import Matcher, TokenBytes, text_matcher, token_matcher
from pile_tools.errors import DataError, ParameterError
from pile_tools.stream.parts import Part

__all__ = ["MAX_TEXT_BYTES", "CompiledPatterns", "check_ids", "compile_texts", "compile_tokens"]

MAX_TEXT_BYTES: Final = 1 << 14
_HALF: Final = "\ufffd"
_SAMPLE_BLOCKS: Final = 32
_SAMPLE_TOKENS: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class CompiledPatterns:
    """A matcher for the tokens of a part; ``max_id`` is the largest id that its tokenizer knows, if any."""

    matcher: Matcher
    max_id: int | None


def check_ids(part: Part, tokens: Tokens, max_id: int | None) -> None:
    """Raise DataError where a token is negative or beyond the tokenizer's largest id, if that is known."""
    smallest, largest = int(tokens.min(initial=0)), int(tokens.max(initial=0))
    if max_id is not None and smallest < 0:
        raise DataError(f"{part.name}: token {smallest}; the data is damaged, copy or make it again")
    if max_id is not None and largest > max_id:
        raise DataError(
            f"{part.name}: token {largest}, but the tokenizer's largest is {max_id}; give the tokenizer that "
            "made the dataset"
        )


def compile_tokens(part: Part, patterns: Sequence[Sequence[int]], seq_length: int) -> CompiledPatterns:
    """Compile sequences of token ids; ParameterError for one that no sequence of the stream can hold."""
    largest = np.iinfo(part.dtype).max
    for pattern in patterns:
        if len(pattern) > seq_length + 1:
            raise ParameterError(
                f"a pattern of {len(pattern)} tokens is longer than a sequence of {seq_length + 1}"
            )
        outside = [token for token in pattern if token > largest]
        if outside:
            raise ParameterError(
                f"token {outside[0]} does not fit {part.dtype.name}, so {part.name} cannot hold it"
            )
    return CompiledPatterns(token_matcher(patterns, _frequencies(part)), None)


def _frequencies(part: Part) -> npt.NDArray[Any]:
    """Return how often each id is in some places of the data, to seek what is rare first."""
    size = min(_SAMPLE_TOKENS, part.n_tokens)
    starts = np.linspace(0, part.n_tokens - size, _SAMPLE_BLOCKS).astype(np.int64)
    tokens = np.concatenate([part.read(start, start + size) for start in np.unique(starts).tolist()])
    return np.bincount(np.maximum(tokens.astype(np.int64), 0) & 0xFFFF, minlength=1 << 16)


def compile_texts(part: Part, texts: Sequence[str]) -> CompiledPatterns | None:
    """Compile texts; None where bytes of tokens are not what is sought: search what is decoded.

    That is where tokens of this tokenizer have no bytes of their own, and for a text that holds U+FFFD, which
    stands in decoded text for halves of characters, whatever their bytes.

    Raises ParameterError for a text that is empty or very long, and of a byte-level tokenizer for one that
    tokenises to nothing or that would have been stored in another form.
    """
    from pile_tools.formats.token_texts import byte_level_tokens, stored_form

    tokenizer, max_id = part.tokenizer()
    tokens = byte_level_tokens(tokenizer, max_id + 1)
    encoded = []
    for text in texts:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise ParameterError(f"{text!r} is no text: it has a lone surrogate") from None
        if not 0 < len(content) <= MAX_TEXT_BYTES:
            raise ParameterError(f"a text of {len(content)} bytes; give one of 1 to {MAX_TEXT_BYTES}")
        # Decoding such as SentencePiece's undoes what normalising does ("▁" for a space): no form is wrong.
        if tokens is not None:
            if _HALF not in text and not tokenizer.encode(text, add_special_tokens=False).ids:
                raise ParameterError(f"{text!r} tokenises to nothing, so no sequence can hold it")
            if (stored := stored_form(tokenizer, text)) != text:
                raise ParameterError(
                    f"{text!r} is not in the form in which the tokenizer stores text; look for {stored!r}"
                )
        encoded.append(content)
    if tokens is None or any(_HALF in text for text in texts):
        return None
    return CompiledPatterns(text_matcher(encoded, TokenBytes.of(tokens)), max_id)
