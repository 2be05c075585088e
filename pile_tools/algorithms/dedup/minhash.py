"""MinHash signatures, equal to those of ``datasketch`` ≥ 2.0 for the same shingle hashes.

Two permutation schemes of datasketch are written here anew:

``affine32``  h is mixed once by the MurmurHash3 32-bit finalizer (Appleby 2011), and permutation k of it
              is a_k·h + b_k in uint32, whose wrap-around is the modulus 2³²; a_k is odd.
``legacy``    permutation k is ((a_k·h + b_k) mod (2⁶¹ − 1)) mod 2³² with the sum in uint64, which wraps.

A signature is the minimum of each permutation over a document's shingle hashes (Broder 1997); a
document without shingles keeps the maximum 2³² − 1 in every place.
"""

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pile_tools.errors import ParameterError

__all__ = ["EMPTY", "Scheme", "fmix32", "permutations", "sign", "update_signature"]

Scheme = Literal["affine32", "legacy"]

EMPTY = np.uint32(0xFFFFFFFF)
"""The value of a signature's every place for a document without shingles."""

_MERSENNE = np.uint64((1 << 61) - 1)
_LOW32 = np.uint64(0xFFFFFFFF)


def permutations(num_perm: int, seed: int, scheme: Scheme = "affine32") -> NDArray[np.unsignedinteger]:
    """Return the coefficients a and b of ``num_perm`` permutations: uint32 (legacy: uint64) [2, num_perm].

    They are drawn from ``numpy.random.RandomState(seed)`` as datasketch draws them. Raises
    ParameterError for a number below 1 or a seed outside [0, 2³²).
    """
    if num_perm < 1:
        raise ParameterError(f"num_perm {num_perm}: must be at least 1")
    if not 0 <= seed < 1 << 32:
        raise ParameterError(f"seed {seed}: must be from 0 to {(1 << 32) - 1}")
    generator = np.random.RandomState(seed)
    if scheme == "legacy":
        drawn = np.empty((2, num_perm), dtype=np.uint64)
        for k in range(num_perm):
            drawn[0, k] = generator.randint(1, _MERSENNE, dtype=np.uint64)
            drawn[1, k] = generator.randint(0, _MERSENNE, dtype=np.uint64)
        return drawn
    a = generator.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = generator.randint(0, 1 << 32, num_perm, dtype=np.uint32)
    return np.stack([a, b])


@njit(cache=True, nogil=True)
def fmix32(h: np.uint32) -> np.uint32:
    """MurmurHash3's 32-bit finalizer: a bijection; the products wrap modulo 2³²."""
    h = np.uint32(h ^ (h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h = np.uint32(h ^ (h >> np.uint32(13)))
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))


@njit(cache=True, nogil=True)
def update_signature(
    mixed: NDArray[np.uint32],
    count: int,
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    signature: NDArray[np.uint32],
) -> None:
    """Lower ``signature`` by the first ``count`` values of ``mixed``, which have been through ``fmix32``."""
    # Four hashes for each pass over the permutations: the pass is bound by its loads and stores.
    i = 0
    while i + 4 <= count:
        h0, h1, h2, h3 = mixed[i], mixed[i + 1], mixed[i + 2], mixed[i + 3]
        for k in range(signature.shape[0]):
            ak, bk = a[k], b[k]
            low = min(np.uint32(ak * h0 + bk), np.uint32(ak * h1 + bk))
            high = min(np.uint32(ak * h2 + bk), np.uint32(ak * h3 + bk))
            signature[k] = min(signature[k], min(low, high))
        i += 4
    while i < count:
        h = mixed[i]
        for k in range(signature.shape[0]):
            signature[k] = min(signature[k], np.uint32(a[k] * h + b[k]))
        i += 1


@njit(cache=True, nogil=True)
def _sign_affine32(
    hashes: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    a: NDArray[np.uint32],
    b: NDArray[np.uint32],
    signatures: NDArray[np.uint32],
) -> None:
    mixed = np.empty(hashes.shape[0], dtype=np.uint32)
    for i in range(hashes.shape[0]):
        mixed[i] = fmix32(hashes[i])
    for d in range(offsets.shape[0] - 1):
        start, end = offsets[d], offsets[d + 1]
        update_signature(mixed[start:end], end - start, a, b, signatures[d])


@njit(cache=True, nogil=True)
def _sign_legacy(
    hashes: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    a: NDArray[np.uint64],
    b: NDArray[np.uint64],
    signatures: NDArray[np.uint32],
) -> None:
    for d in range(offsets.shape[0] - 1):
        for i in range(offsets[d], offsets[d + 1]):
            h = np.uint64(hashes[i])
            for k in range(a.shape[0]):
                # The sum wraps modulo 2⁶⁴ before the prime modulus, as it does in datasketch.
                value = np.uint32(((a[k] * h + b[k]) % _MERSENNE) & _LOW32)
                signatures[d, k] = min(signatures[d, k], value)


def sign(
    hashes: NDArray[np.uint32],
    offsets: NDArray[np.int64],
    coefficients: NDArray[np.unsignedinteger],
) -> NDArray[np.uint32]:
    """Return the signatures, uint32 [n, num_perm], of n sets of 32-bit hashes.

    Set i is ``hashes[offsets[i]:offsets[i + 1]]``; repeats in it change nothing. ``coefficients`` come
    from ``permutations``; their dtype tells the scheme.
    """
    hashes = np.ascontiguousarray(hashes, dtype=np.uint32)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    signatures = np.full((len(offsets) - 1, coefficients.shape[1]), EMPTY, dtype=np.uint32)
    kernel = _sign_affine32 if coefficients.dtype == np.uint32 else _sign_legacy
    kernel(hashes, offsets, coefficients[0], coefficients[1], signatures)
    return signatures
