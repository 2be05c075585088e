"""The table of documents of a stream: addresses, sources, and one that is of another dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError
from tests.token_data import (
    SIZES,
    add_provenance,
    random_documents,
    write_ordered,
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_ordered(tmp_path / "data")


@pytest.mark.parametrize("provenance", [False, True])
def test_trace_leads_from_each_token_to_its_document(data: Path, provenance: bool) -> None:
    if provenance:
        add_provenance(data, 24)
    documents = random_documents(0, SIZES)
    viewer = BatchViewer.open(data)
    for step in range(viewer.steps):
        for row in range(4):
            table = viewer.trace(step, row)
            assert table.schema.types == [pa.int64()] * 4 + [pa.string(), pa.int64(), pa.string()]
            tokens: list[npt.NDArray[Any]] = []
            for piece in table.to_pylist():
                assert piece["position"] == sum(map(len, tokens))
                begin, number = piece["offset"], piece["document"]
                tokens.append(documents[number][begin : begin + piece["n_tokens"]])
                expected = (f"{number // 6}.jsonl", number % 6, ["Web", None, "Code"][number % 3])
                found = (piece["shard"], piece["shard_row"], piece["source"])
                assert found == (expected if provenance else (None, None, None))
            np.testing.assert_array_equal(np.concatenate(tokens), viewer.sequence(step, row))


def test_provenance_of_another_dataset_is_refused(data: Path) -> None:
    add_provenance(data, 23)
    with pytest.raises(DataError, match=r"documents\.parquet: 23 documents"):
        BatchViewer.open(data).trace(0, 0)
