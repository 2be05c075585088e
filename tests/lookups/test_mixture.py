"""Mixture, against the inputs of every sequence."""

from collections import Counter

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import PileToolsError
from tests.lookups.conftest import MakeStream


def inputs(viewer: BatchViewer, step: int) -> list[dict[str, int | None]]:
    """The pieces of all sequences of a step, without the last token of each sequence."""
    found = []
    for row in range(viewer.batch_size):
        for piece in viewer.trace(step, row).to_pylist():
            cut = max(0, piece["position"] + piece["n_tokens"] - viewer.seq_length)
            found.append(piece | {"n_tokens": piece["n_tokens"] - cut})
    return found


@pytest.mark.parametrize(
    "form", ["neox", "megatron-core", "blend", "pread", "fetched", "fetched megatron-core", "fetched blend"]
)
def test_mixture(form: str, make_stream: MakeStream) -> None:
    documents = [[1] * size for size in (9, 4, 0, 17, 3, 8, 2, 30, 5)]
    viewer = make_stream(documents, form=form, provenance=True, num_samples=40)
    table = viewer.mixture(every=6)
    assert table.column("checkpoint").unique().to_pylist() == [6, 12, 18, 20]
    total: Counter[str | None] = Counter()
    for start, stop in ((0, 6), (6, 12), (12, 18), (18, 20)):
        expected: Counter[str | None] = Counter()
        for step in range(start, stop):
            for piece in inputs(viewer, step):
                expected[piece["source"]] += piece["n_tokens"]  # type: ignore[index,operator]
        rows = [row for row in table.to_pylist() if row["start"] == start]
        total += expected
        assert {row["source"]: row["tokens"] for row in rows if row["tokens"]} == dict(+expected)
        assert sum(row["tokens"] for row in rows) == (stop - start) * 2 * 5
        assert {row["source"]: row["cumulative"] for row in rows if row["cumulative"]} == dict(+total)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert all(row["checkpoint"] == stop for row in rows)
        assert rows[-1]["source"] is None


def test_what_cannot_be_known(make_stream: MakeStream) -> None:
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known which source"):
        make_stream([[1] * 30]).mixture()
    with pytest.raises(PileToolsError, match="boundaries of its documents are not known"):
        make_stream([[1] * 30], form="sequential", provenance=True).mixture()
