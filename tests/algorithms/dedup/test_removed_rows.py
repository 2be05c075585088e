import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.removed_rows import original_rows


@given(kept=st.lists(st.booleans(), max_size=60))
def test_rows_against_a_plain_loop(kept: list[bool]) -> None:
    removed = np.array([row for row, keep in enumerate(kept) if not keep], np.int64)
    expected = [row for row, keep in enumerate(kept) if keep]
    assert original_rows(removed, np.arange(len(expected))).tolist() == expected
