import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.orders.swaps import check_pairs, swap_tokens, swap_vectors
from pile_tools.errors import ParameterError


@given(
    st.dictionaries(st.integers(0, 40), st.integers(0, 40), max_size=20),
    st.lists(st.integers(0, 40), max_size=60),
)
def test_all_swaps_happen_at_once(table: dict[int, int], tokens: list[int]) -> None:
    found = np.array(tokens, "<u2")
    swap_tokens(found, *swap_vectors(list(table.items()), "<u2"))
    assert found.dtype == np.dtype("<u2")
    assert found.tolist() == [table.get(token, token) for token in tokens]


def test_tables_that_contradict_themselves_are_refused() -> None:
    check_pairs([("a", "b"), ("b", "c"), ("d", "c")])
    with pytest.raises(ParameterError, match="'a' is swapped twice, for 'b' and for 'c'"):
        check_pairs([("a", "b"), ("a", "c")])
    with pytest.raises(ParameterError, match="a cycle: 'b' → 'c' → 'b'"):
        check_pairs([("a", "b"), ("b", "c"), ("c", "b")])
    with pytest.raises(ParameterError, match="a cycle: 7 → 7"):
        check_pairs([(7, 7)])
