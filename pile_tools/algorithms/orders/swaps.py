"""One-to-one token swaps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools.errors import ParameterError

__all__ = ["check_pairs", "swap_tokens", "swap_vectors"]


def check_pairs(pairs: Sequence[tuple[Any, Any]]) -> None:
    """Raise ParameterError for a table that does not say what becomes of a token, or says it in a circle.

    Each left side stands once; following left to right never comes back. A chain (a → b, b → c) is sound: all
    swaps happen at once, so that what was a is b.
    """
    table: dict[Any, Any] = {}
    for left, right in pairs:
        if left in table:
            raise ParameterError(f"{left!r} is swapped twice, for {table[left]!r} and for {right!r}")
        table[left] = right
    for start in table:
        path, item = [start], table[start]
        while item in table and item not in path:
            path.append(item)
            item = table[item]
        if item == start:
            raise ParameterError(
                f"a cycle: {' → '.join(map(repr, [*path, item]))}; a swap must not come back"
            )


def swap_vectors(
    pairs: Sequence[tuple[int, int]], dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the left sides, ascending, and their right sides, both in ``dtype``."""
    ordered = sorted(pairs)
    left, right = (np.array([pair[side] for pair in ordered], dtype) for side in (0, 1))
    return left, right


def swap_tokens(tokens: npt.NDArray[Any], left: npt.NDArray[Any], right: npt.NDArray[Any]) -> None:
    """Swap in ``tokens`` [n], in place, all at once: each id of ``left`` becomes that of ``right``.

    ``left`` is ascending.
    """
    if not len(left):
        return
    places = np.minimum(np.searchsorted(left, tokens), len(left) - 1)
    found = left[places] == tokens
    tokens[found] = right[places[found]]
