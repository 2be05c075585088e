import contextlib
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pile_tools.algorithms.orders.repack import Piece, cut, exchange, rebuild
from pile_tools.errors import ParameterError

Token = tuple[int, int]


def packing(sizes: list[int], n_tokens: int, shares: bool) -> list[list[Piece]]:
    """Pieces of the samples of documents 0, 1, … one after the other, whole samples only."""
    text: list[Piece] = [(document, 0, size) for document, size in enumerate(sizes) if size]
    total, step = sum(sizes), n_tokens - 1 if shares else n_tokens
    return [cut(text, start, start + n_tokens) for start in range(0, total - n_tokens + 1, step)]


def tokens(pieces: list[Piece]) -> list[Token]:
    return [(document, offset + place) for document, offset, count in pieces for place in range(count)]


packings = st.tuples(
    st.lists(st.integers(0, 12), min_size=4, max_size=25).filter(lambda sizes: sum(sizes) >= 24),
    st.integers(3, 8),
    st.booleans(),
)


@given(packings, st.data())
def test_samples_are_read_on_from_where_they_began(
    made: tuple[list[int], int, bool], data: st.DataObject
) -> None:
    sizes, n_tokens, shares = made
    samples = packing(sizes, n_tokens, shares)
    documents = st.integers(0, len(sizes) - 1)
    edits: dict[int, tuple[int, int] | None] = data.draw(
        st.dictionaries(documents, st.none() | st.tuples(st.just(99), st.integers(1, 20)), max_size=4)
    )
    numbers = [
        number for number, pieces in enumerate(samples) if any(document in edits for document, _, _ in pieces)
    ]
    chosen = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    left = sum(len([t for t in tokens(pieces)[1:] if t[0] not in edits]) for pieces in samples)
    assume(left >= n_tokens * len(samples) or not chosen or left >= n_tokens * (len(chosen) + 1))
    found = rebuild(
        sorted(chosen), samples.__getitem__, edits, n_tokens=n_tokens, n_samples=len(samples), shares=shares
    )
    assert set(found.samples) == chosen
    for number in chosen:
        shown = tokens(found.samples[number])
        assert len(shown) == n_tokens
        assert not {document for document, _ in shown} & edits.keys()
        if number - 1 not in chosen:
            assert shown[0] == next(_edited_text(samples, number, edits, shares))
        elif shares:
            assert shown[0] == tokens(found.samples[number - 1])[-1]
    runs = [number for number in sorted(chosen) if number - 1 not in chosen]
    for first in runs:
        run = [first]
        while run[-1] + 1 in chosen:
            run.append(run[-1] + 1)
        joined: list[Token] = []
        for number in run:
            joined += tokens(found.samples[number])[1 if shares and number != first else 0 :]
        text = _edited_text(samples, first, edits, shares)
        assert joined == [next(text) for _ in joined]


def _edited_text(samples, number, edits, shares):  # type: ignore[no-untyped-def]
    """An oracle, token by token: the text from the start of a sample on, round the end, after the edits."""
    order = [*range(number, len(samples)), *range(number), *range(len(samples))]
    before = None
    for place, here in enumerate(order):
        text = tokens(samples[here])
        for document, offset in text[1:] if shares and place and here else text:
            if document in edits:
                begins = before is None or before[0] != document or offset == 0
                if begins and edits[document] is not None:
                    other, size = edits[document]
                    yield from ((other, at) for at in range(offset, size))
            else:
                yield document, offset
            before = (document, offset)


@given(packings, st.data())
def test_an_exchange_shows_each_token_as_often_as_before(
    made: tuple[list[int], int, bool], data: st.DataObject
) -> None:
    sizes, n_tokens, shares = made
    samples = dict(enumerate(packing(sizes, n_tokens, shares)))
    targets = data.draw(st.lists(st.sampled_from(sorted(samples)), min_size=1, unique=True).map(sorted))
    moved = data.draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1, max_size=2))
    with contextlib.suppress(ParameterError):
        changed = exchange(samples, targets, moved, n_tokens)
        check_exchange(samples, changed, targets, moved, n_tokens)


def check_exchange(
    samples: dict[int, list[Piece]],
    changed: dict[int, list[Piece]],
    targets: list[int],
    moved: set[int],
    n_tokens: int,
) -> None:
    after = samples | changed
    assert all(len(tokens(pieces)) == n_tokens for pieces in after.values())
    for number, pieces in after.items():
        if number not in targets:
            assert not {document for document, _, _ in pieces} & moved
    before, now = (
        Counter(token for pieces in all_.values() for token in tokens(pieces)) for all_ in (samples, after)
    )
    assert before == now


def test_what_does_not_fit_is_an_error() -> None:
    samples = dict(enumerate(packing([4, 4, 9], 4, False)))
    with pytest.raises(ParameterError, match="do not fit into the 1 sequences"):
        exchange(samples, [0], {2}, 4)
    assert exchange(samples, [0], {1}, 4) == {0: [(1, 0, 4)], 1: [(0, 0, 4)]}


def test_what_cannot_be_filled_is_an_error() -> None:
    samples = packing([8], 4, True)
    with pytest.raises(ParameterError, match="no document is left"):
        rebuild([0], samples.__getitem__, {0: None}, n_tokens=4, n_samples=len(samples), shares=True)
