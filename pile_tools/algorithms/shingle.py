"""From UTF-8 bytes to shingle hashes and signatures, without an object for a word or a shingle.

A shingle is a run of n words; its 64-bit hash is ``finish_hash`` of the sum of w_j·P^(n−1−j) over its
word hashes w_0 … w_{n−1}, modulo 2⁶⁴. A document of fewer than n words, but at least one, is one
shingle of all of them. MinHash takes the low 32 bits of a shingle hash; exact similarities take all 64.

The word hash of a document stands for its whole sequence of words in 128 bits: documents that share it
have the same words in the same order, and therefore the same shingles.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.algorithms.minhash import EMPTY, fmix32, update_signature
from pile_tools.algorithms.normalize import FormArrays, form_arrays, normalize_document
from pile_tools.algorithms.unicode_data import Normalization, character_table
from pile_tools.algorithms.words import WORD_SEED, finish_hash, scan_words
from pile_tools.errors import ParameterError

__all__ = [
    "MAX_NGRAM",
    "SignedDocuments",
    "shingle_hashes",
    "shingle_sets",
    "sign_documents",
]

MAX_NGRAM = 64

_POWER = np.uint64(0xD6E8FEB86659FD93)
_BLOCK = 256  # words that are found, and shingles that are signed, at once

_CHAIN_A = np.uint64(0xA0761D6478BD642F)
_CHAIN_B = np.uint64(0xE7037ED1A0B428DB)


@dataclass(frozen=True, slots=True)
class SignedDocuments:
    """signatures: uint32 [n, num_perm]. word_hashes: uint64 [n, 2]. words: int64 [n], how many there are."""

    signatures: NDArray[np.uint32]
    word_hashes: NDArray[np.uint64]
    words: NDArray[np.int64]


def _check_ngram(ngram: int) -> None:
    if not 1 <= ngram <= MAX_NGRAM:
        raise ParameterError(f"ngram {ngram}: must be from 1 to {MAX_NGRAM}")


@njit(cache=True, nogil=True)
def _power(ngram: int) -> np.uint64:
    power = np.uint64(1)
    for _ in range(ngram):
        power = np.uint64(power * _POWER)
    return power


@njit(cache=True, nogil=True)
def _sign_document(
    text: NDArray[np.uint8],
    position: int,
    end: int,
    table: NDArray[np.uint32],
    ring: NDArray[np.uint64],
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    signature: NDArray[np.uint32],
    word_hash: NDArray[np.uint64],
) -> int:
    """Sign one document, in n-grams as long as ``ring``; return how many words it has.

    −1 where the table is not sure about it; then what is written means nothing.
    """
    scanned = np.empty(_BLOCK + 2, dtype=np.uint64)
    block = np.empty(_BLOCK + 2, dtype=np.uint32)
    ngram = ring.shape[0]
    power = _power(ngram)
    ring[:] = 0
    signature[:] = EMPTY
    count, slot = 0, 0
    rolling = np.uint64(0)
    chain_a, chain_b = _CHAIN_A, _CHAIN_B
    h, inside = WORD_SEED, False
    while position < end or inside:
        position, n, h, inside = scan_words(text, position, end, table, h, inside, scanned)
        if position < end and n < _BLOCK:
            return -1
        if position == end and inside:
            scanned[n] = h
            n += 1
            inside = False
        filled = 0
        for i in range(n):
            word = finish_hash(scanned[i])
            # Two chains that are not linear in the words, so that no two sequences clash by structure.
            chain_a = np.uint64(np.uint64(chain_a ^ word) * _CHAIN_B)
            chain_a = np.uint64(chain_a ^ (chain_a >> np.uint64(32)))
            chain_b = np.uint64(np.uint64(chain_b + word) * _CHAIN_A)
            chain_b = np.uint64(chain_b ^ (chain_b >> np.uint64(29)))
            rolling = np.uint64(np.uint64(rolling * _POWER) + word)
            rolling = np.uint64(rolling - np.uint64(ring[slot] * power))
            ring[slot] = word
            slot = slot + 1 if slot + 1 < ngram else 0
            count += 1
            if count >= ngram:
                block[filled] = fmix32(np.uint32(finish_hash(rolling) & np.uint64(0xFFFFFFFF)))
                filled += 1
        update_signature(block, filled, a, b, signature)
    if 0 < count < ngram:
        block[0] = fmix32(np.uint32(finish_hash(rolling) & np.uint64(0xFFFFFFFF)))
        update_signature(block, 1, a, b, signature)
    word_hash[0] = finish_hash(chain_a)
    word_hash[1] = finish_hash(chain_b)
    return count


@njit(cache=True, nogil=True)
def _sign_documents(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    tables: tuple[NDArray[np.uint32], NDArray[np.uint32]],
    form: FormArrays,
    ngram: int,
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    signatures: NDArray[np.uint32],
    word_hashes: NDArray[np.uint64],
    words: NDArray[np.int64],
) -> None:
    ring = np.empty(ngram, dtype=np.uint64)
    for d in range(offsets.shape[0] - 1):
        start, end = offsets[d], offsets[d + 1]
        count = _sign_document(text, start, end, tables[0], ring, a, b, signatures[d], word_hashes[d])
        if count < 0:
            normal = normalize_document(text[start:end], form)
            count = _sign_document(
                normal, 0, normal.shape[0], tables[1], ring, a, b, signatures[d], word_hashes[d]
            )
        words[d] = count


def sign_documents(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    ngram: int,
    coefficients: NDArray[np.uint32],
    normalization: Normalization = "nfc",
) -> SignedDocuments:
    """Sign n documents in the form ``normalization``; i is ``text[offsets[i]:offsets[i + 1]]``, valid UTF-8.

    ``coefficients`` are those of `minhash.permutations` for ``affine32``. Raises ParameterError for an
    ``ngram`` outside 1 to 64.
    """
    _check_ngram(ngram)
    n = len(offsets) - 1
    signed = SignedDocuments(
        np.empty((n, coefficients.shape[1]), dtype=np.uint32),
        np.empty((n, 2), dtype=np.uint64),
        np.empty(n, dtype=np.int64),
    )
    _sign_documents(
        text,
        offsets,
        (character_table(normalization), character_table()),
        form_arrays(normalization),
        ngram,
        coefficients[0],
        coefficients[1],
        signed.signatures,
        signed.word_hashes,
        signed.words,
    )
    return signed


@njit(cache=True, nogil=True)
def _hash_document(
    text: NDArray[np.uint8],
    position: int,
    end: int,
    table: NDArray[np.uint32],
    ring: NDArray[np.uint64],
    hashes: NDArray[np.uint64],
    filled: int,
) -> int:
    """Put the shingle hashes of one document into ``hashes`` from ``filled`` on; return where they end.

    −1 where the table is not sure about the document.
    """
    scanned = np.empty(_BLOCK + 2, dtype=np.uint64)
    ngram = ring.shape[0]
    power = _power(ngram)
    ring[:] = 0
    count, slot = 0, 0
    rolling = np.uint64(0)
    h, inside = WORD_SEED, False
    while position < end or inside:
        position, n, h, inside = scan_words(text, position, end, table, h, inside, scanned)
        if position < end and n < _BLOCK:
            return -1
        if position == end and inside:
            scanned[n] = h
            n += 1
            inside = False
        for i in range(n):
            word = finish_hash(scanned[i])
            rolling = np.uint64(np.uint64(rolling * _POWER) + word)
            rolling = np.uint64(rolling - np.uint64(ring[slot] * power))
            ring[slot] = word
            slot = slot + 1 if slot + 1 < ngram else 0
            count += 1
            if count >= ngram:
                hashes[filled] = finish_hash(rolling)
                filled += 1
    if 0 < count < ngram:
        hashes[filled] = finish_hash(rolling)
        filled += 1
    return filled


@njit(cache=True, nogil=True)
def _most_hashes(n_bytes: int, documents: int) -> int:
    """How many shingles there may be: a word of one byte is followed by one that is in none."""
    return (n_bytes + 1) // 2 + 2 * documents


@njit(cache=True, nogil=True)
def _shingle_hashes(
    text: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    tables: tuple[NDArray[np.uint32], NDArray[np.uint32]],
    form: FormArrays,
    ngram: int,
    ends: NDArray[np.int64],
) -> NDArray[np.uint64]:
    n = offsets.shape[0] - 1
    ring = np.empty(ngram, dtype=np.uint64)
    # The memory is not touched where it is not needed.
    hashes = np.empty(_most_hashes(text.shape[0], n), dtype=np.uint64)
    for d in range(n):
        start, end, filled = offsets[d], offsets[d + 1], ends[d]
        ends[d + 1] = _hash_document(text, start, end, tables[0], ring, hashes, filled)
        if ends[d + 1] < 0:
            normal = normalize_document(text[start:end], form)
            most = filled + _most_hashes(normal.shape[0] + text.shape[0] - end, n - d)
            if most > hashes.shape[0]:
                larger = np.empty(most + hashes.shape[0] // 4, dtype=np.uint64)
                larger[:filled] = hashes[:filled]
                hashes = larger
            ends[d + 1] = _hash_document(normal, 0, normal.shape[0], tables[1], ring, hashes, filled)
    return hashes[: ends[n]]


def shingle_hashes(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], ngram: int, normalization: Normalization = "nfc"
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the shingle hashes of n documents, in order and with repeats, and int64 [n + 1] offsets.

    The documents are hashed in the form ``normalization``. Raises ParameterError for an ``ngram`` outside
    1 to 64.
    """
    _check_ngram(ngram)
    ends = np.zeros(len(offsets), dtype=np.int64)
    tables = character_table(normalization), character_table()
    return _shingle_hashes(text, offsets, tables, form_arrays(normalization), ngram, ends), ends


@njit(cache=True, nogil=True)
def _drop_repeats(hashes: NDArray[np.uint64], ends: NDArray[np.int64]) -> None:
    filled = 0
    start = 0
    for d in range(ends.shape[0] - 1):
        end = ends[d + 1]
        for i in range(start, end):
            if i == start or hashes[i] != hashes[i - 1]:
                hashes[filled] = hashes[i]
                filled += 1
        start = end
        ends[d + 1] = filled


def shingle_sets(
    text: NDArray[np.uint8], offsets: NDArray[np.int64], ngram: int, normalization: Normalization = "nfc"
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the sets of shingle hashes of n documents, each sorted, and int64 [n + 1] offsets.

    Normalised and refused as by `shingle_hashes`.
    """
    hashes, ends = shingle_hashes(text, offsets, ngram, normalization)
    for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        hashes[start:end].sort()
    _drop_repeats(hashes, ends)
    return hashes[: ends[-1]], ends
