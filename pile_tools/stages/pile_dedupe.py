"""Signatures as EleutherAI's published deduplication scripts for the Pile make them.

A document is taken in slices of 1,048,576 characters. NLTK's word tokenizer cuts each into words; five in a
row, joined by spaces, are a shingle, hashed to the first 32 bits of its SHA-1 (little endian). The
permutations are datasketch's scheme ``legacy``. A slice of fewer than five words has no shingle, and
documents without any share the empty signature: they match each other, as they do in the scripts.
"""

import hashlib
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.minhash import permutations, sign
from pile_tools.errors import PileToolsError, needs_extra

__all__ = ["NGRAM", "five_grams", "load_word_tokenizer", "sign_texts"]

NGRAM = 5
SLICE_CHARACTERS = 1 << 20

_coefficients = cache(permutations)


@cache
def load_word_tokenizer() -> Callable[[str], list[str]]:
    """NLTK's ``word_tokenize``, tried once.

    Raises MissingExtraError where nltk is not installed and PileToolsError where its punkt data is not found.
    """
    with needs_extra("--preset pile-dedupe"):
        from nltk.tokenize import word_tokenize
    try:
        word_tokenize("One. Two.")
    except LookupError:
        raise PileToolsError(
            "--preset pile-dedupe needs NLTK's punkt data; fetch it with "
            "`python -m nltk.downloader punkt_tab`, or set NLTK_DATA to the directory that holds "
            "tokenizers/punkt_tab"
        ) from None
    tokenize: Callable[[str], list[str]] = word_tokenize
    return tokenize


def five_grams(text: str) -> set[str]:
    """The shingles of a document, as strings."""
    tokenize = load_word_tokenizer()
    found: set[str] = set()
    for start in range(0, len(text), SLICE_CHARACTERS):
        words = tokenize(text[start : start + SLICE_CHARACTERS])
        found.update(" ".join(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))
    return found


def sign_texts(texts: list[str], num_perm: int, seed: int) -> NDArray[np.uint32]:
    """Return the signatures of documents: uint32 [n, num_perm]."""
    digests: list[bytes] = []
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    for i, text in enumerate(texts):
        digests += [hashlib.sha1(shingle.encode()).digest()[:4] for shingle in five_grams(text)]
        offsets[i + 1] = len(digests)
    hashes = np.frombuffer(b"".join(digests), dtype="<u4").astype(np.uint32)
    return sign(hashes, offsets, _coefficients(num_perm, seed, "legacy"))
