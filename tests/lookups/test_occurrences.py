"""Which steps show a document, and questions that no document answers."""

import json
from typing import Any

import pytest

from pile_tools.errors import OutOfRangeError, ParameterError, PileToolsError
from tests.lookups.conftest import MakeStream
from tests.token_data import GOLDEN


def test_a_document_of_a_blend_needs_its_dataset(make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 9, [2] * 9], form="blend")
    with pytest.raises(ParameterError, match=r"say which dataset the document is of .*: 0 .*0/document, 1 "):
        viewer.seen(0)
    with pytest.raises(OutOfRangeError, match="no dataset 2, from 0 to 1"):
        viewer.seen(0, dataset=2)


def test_documents_of_a_sequential_dataset_are_not_known(make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 60], form="sequential")
    with pytest.raises(PileToolsError, match="boundaries of its documents are not known"):
        viewer.seen(0)


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "ranks.json").read_text()))
def test_ranks(case: dict[str, Any], make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 50] * 40, num_samples=200, batch_size=case["global_batch"])
    table = viewer.seen(documents=range(40), world_size=case["world_size"])
    assert table.num_rows
    for piece in table.to_pylist():
        if piece["step"] < 3:
            samples = case["first_three_batches_by_rank"][piece["rank"]][piece["step"]]
            assert piece["step"] * case["global_batch"] + piece["row"] in samples


def test_micro_batches_of_ranks(make_stream: MakeStream) -> None:
    viewer = make_stream([[number] * 6 for number in range(12)], num_samples=24, batch_size=12)
    table = viewer.seen(documents=range(12), world_size=3, micro_batch_size=2)
    assert {(piece["row"], piece["rank"]) for piece in table.to_pylist()} == {
        (row, row % 6 // 2) for row in range(12)
    }
    for parameters in ({"world_size": 0}, {"world_size": 5}, {"world_size": 3, "micro_batch_size": 3}):
        with pytest.raises(ParameterError, match=r"world_size|does not divide"):
            viewer.seen(0, **parameters)


def test_a_document_by_where_it_came_from(make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 7, [1] * 3, [1] * 5, [2] * 4], provenance=True)
    assert viewer.seen(shard="1.jsonl", row=0).equals(viewer.seen(2))
    with pytest.raises(OutOfRangeError, match=r"no document from row 2 of shard '1.jsonl'"):
        viewer.seen(shard="1.jsonl", row=2)
    for given_names in ({}, {"document": 1, "shard": "x", "row": 1}, {"shard": "x"}, {"row": 1}):
        with pytest.raises(ParameterError, match=r"shard and row|a shard and a row"):
            viewer.seen(**given_names)
    bare = make_stream([[1] * 7, [1] * 3])
    with pytest.raises(PileToolsError, match=r"no documents.parquet, so it is not known"):
        bare.seen(shard="1.jsonl", row=0)


def test_documents_that_are_none(make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 7, [], [1] * 5])
    for document in (3, -1, 10**12):
        with pytest.raises(OutOfRangeError, match=f"no document {document}; there are 3, from 0"):
            viewer.seen(document)
    with pytest.raises(ParameterError, match="whole numbers"):
        viewer.seen(1.5)  # type: ignore[arg-type]
    with pytest.raises(OutOfRangeError, match="it is one dataset, not a blend"):
        viewer.seen(0, dataset=1)
    assert viewer.seen(1).num_rows == 0
    assert viewer.seen(documents=[]).num_rows == 0
