"""Documents that an overlay adds, in the place of others."""

from pathlib import Path

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import PileToolsError
from pile_tools.lookups.trace import trace_pieces
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import check_traces


@pytest.mark.slow
def test_documents_are_replaced(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    # Called like a shard of the corpus, of which it is no row all the same.
    (tmp_path / "a.jsonl").write_text("the dog heard nothing")
    intervention = Intervention(replace=[("10", "11"), ("12,13", str(tmp_path / "a.jsonl"))])
    intervene(data, tmp_path / "o", intervention, from_step=0)
    viewer = BatchViewer.open(tmp_path / "o")
    shown = [p for s in range(viewer.steps) for r in range(4) for p in viewer.trace(s, r).to_pylist()]
    assert not {p["document"] for p in shown} & {10, 12, 13}
    added = [p for p in shown if p["document"] >= 60]
    assert {(p["shard"], p["shard_row"]) for p in added} == {("a.jsonl", None)}
    text = "".join(viewer.text(s, r) for s in range(viewer.steps) for r in range(4))
    assert "the dog heard nothing<|endoftext|>" in text
    check_traces(viewer, parent, range(viewer.steps))
    # It is of no shard that was tokenized, and leads no further back.
    place = viewer.seen(added[0]["document"]).to_pylist()[0]
    row = place["step"], place["row"]
    pieces = trace_pieces(viewer.stream.parts, viewer.trace(*row), viewer.sequence(*row))
    assert {bool(piece.addresses) for piece in pieces if piece.document == added[0]["document"]} == {False}
    assert {bool(piece.addresses) for piece in pieces if (piece.document or 0) < 60} <= {True}
    fetch_steps(viewer, row[0], row[0] + 1, tmp_path / "steps")
    assert BatchViewer.open(tmp_path / "steps").trace(*row) == viewer.trace(*row)
    with pytest.raises(PileToolsError, match="was made by an overlay and is no text of the corpus"):
        trace_pieces(viewer.stream.parts, viewer.trace(*row), viewer.sequence(*row), context=3)
