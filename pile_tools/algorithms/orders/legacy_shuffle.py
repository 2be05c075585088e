"""``numpy.random.RandomState.shuffle`` of a one-dimensional array, bit for bit and faster.

NumPy draws one number, swaps, and waits for both cache lines before the next; here a block of numbers
is drawn first, so that the memory bus works on many swaps at once. The words are those of MT19937
(Matsumoto & Nishimura 1998); a number in [0, i] is a word under the smallest mask of ones that covers i,
drawn again while it is above i, and of two words where i needs more than 32 bits.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["shuffle"]

_N: Final = 624
_BLOCK: Final = 4096
_TOP_OF_ONE_WORD: Final = 0xFFFFFFFF


@numba.njit(cache=True, nogil=True)
def _next_words(key, words):  # type: ignore[no-untyped-def]
    """Advance the state ``key`` (uint32[624]) by 624 words and put them, tempered, into ``words``."""
    upper, lower, twist = np.uint32(0x80000000), np.uint32(0x7FFFFFFF), np.uint32(0x9908B0DF)
    one = np.uint32(1)
    for k in range(227):
        y = (key[k] & upper) | (key[k + 1] & lower)
        key[k] = key[k + 397] ^ (y >> one) ^ (twist if y & one else np.uint32(0))
    for k in range(227, 623):
        y = (key[k] & upper) | (key[k + 1] & lower)
        key[k] = key[k - 227] ^ (y >> one) ^ (twist if y & one else np.uint32(0))
    y = (key[623] & upper) | (key[0] & lower)
    key[623] = key[396] ^ (y >> one) ^ (twist if y & one else np.uint32(0))
    _temper(key, words)


@numba.njit(cache=True, nogil=True)
def _temper(key, words):  # type: ignore[no-untyped-def]
    for k in range(624):
        y = key[k]
        y ^= y >> np.uint32(11)
        y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
        y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
        y ^= y >> np.uint32(18)
        words[k] = y


@numba.njit(cache=True, nogil=True)
def _shuffle(array, key, position, top_of_one_word):  # type: ignore[no-untyped-def]
    """Shuffle ``array`` with the words of ``key`` from ``position`` on; return the position after it."""
    words = np.empty(624, np.uint32)
    _temper(key, words)
    drawn = np.empty(_BLOCK, np.int64)
    last = np.int64(len(array) - 1)
    while last > 0:
        mask = np.int64(last)
        for shift in (1, 2, 4, 8, 16, 32):
            mask |= mask >> shift
        # One mask and one width of words hold for a whole block.
        lowest = mask >> 1
        if last > top_of_one_word:
            lowest = max(lowest, top_of_one_word)
        wanted = min(last - lowest, np.int64(_BLOCK))
        count = np.int64(0)
        if last > top_of_one_word:
            while count < wanted:
                value = np.int64(0)
                for _ in range(2):
                    if position == 624:
                        _next_words(key, words)
                        position = 0
                    value = (value << 32) | np.int64(words[position])
                    position += 1
                value &= mask
                if value <= last - count:
                    drawn[count] = value
                    count += 1
        else:
            while count < wanted:
                if position == 624:
                    _next_words(key, words)
                    position = 0
                # Without a branch on what was drawn, which no processor could predict.
                stop = min(np.int64(624), position + wanted - count)
                for k in range(position, stop):
                    value = np.int64(words[k]) & mask
                    drawn[count] = value
                    count += np.int64(value <= last - count)
                position = stop
        for k in range(wanted):
            other = np.uint64(drawn[k])
            place = np.uint64(last - k)
            kept = array[other]
            array[other] = array[place]
            array[place] = kept
        last -= wanted
    return position


def shuffle(generator: np.random.RandomState, array: npt.NDArray[Any]) -> None:
    """Shuffle ``array`` (one-dimensional, contiguous) as ``generator.shuffle(array)`` does.

    The generator is left in the state in which NumPy would leave it.
    """
    state = generator.get_state(legacy=False)
    key = state["state"]["key"].astype(np.uint32)
    position = _shuffle(array, key, np.int64(state["state"]["pos"]), np.int64(_TOP_OF_ONE_WORD))
    state["state"]["key"] = key
    state["state"]["pos"] = int(position)
    generator.set_state(state)
