"""What spans of documents were read how often, against a count of every token."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.orders.exposure import repetition_of_spans

# Document, which place of it, first token, number of tokens, interval.
spans = st.tuples(
    st.integers(0, 3), st.integers(0, 2), st.integers(0, 9), st.integers(1, 9), st.integers(0, 3)
)


@given(st.lists(spans, max_size=12))
def test_every_token(read: list[tuple[int, int, int, int, int]]) -> None:
    columns = np.array(read, np.int64).reshape(-1, 5).T
    documents, places, starts, lengths, intervals = (column.copy() for column in columns)
    found = repetition_of_spans(documents, places, starts, starts + lengths, intervals, 4)
    tokens: Counter[tuple[int, int]] = Counter()
    seen: set[tuple[int, int]] = set()
    for interval in range(4):
        for document, place, start, length, when in read:
            if when == interval:
                tokens.update((document, token) for token in range(start, start + length))
                seen.add((document, place))
        for times, counted in zip(found, (Counter(document for document, _ in seen), tokens), strict=True):
            # Row t holds, interval by interval, what was read for the (t + 1)-th time.
            for number, row in enumerate(times.cumsum(axis=1), 1):
                assert row[interval] == sum(count >= number for count in counted.values())
            assert max(counted.values(), default=0) <= len(times)
