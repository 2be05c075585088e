"""The document that most of the beginning of a sequence is of, against its tokens one by one."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pile_tools.studies.row_documents import ORIGIN_FIELDS, origin_columns
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.viewer import BatchViewer
from tests.token_data import random_documents, write_dataset


@pytest.mark.parametrize("n_tokens", [1, 7, 48])
def test_the_document_of_most_tokens(place: StreamPlace, n_tokens: int) -> None:
    viewer = place.open()
    for step in range(viewer.steps):
        table = pa.Table.from_arrays(origin_columns(viewer, step, n_tokens), schema=pa.schema(ORIGIN_FIELDS))
        for row, line in enumerate(table.to_pylist()):
            pieces = viewer.trace(step, row).to_pylist()
            tokens = [piece for piece in pieces for _ in range(piece["n_tokens"])][:n_tokens]
            starts = Counter(piece["position"] for piece in tokens)
            most = max(starts, key=lambda start: (starts[start], -start))
            (piece,) = (piece for piece in pieces if piece["position"] == most)
            assert line == {
                "document": piece["document"],
                "offset": piece["offset"],
                "n_tokens": starts[most],
                "source": piece["source"],
            }


def test_without_boundaries_of_documents_nothing_is_known(tmp_path: Path) -> None:
    directory = write_dataset(tmp_path / "data", random_documents(0, [9] * 8)).parent
    viewer = BatchViewer.open(directory, order="sequential", batch_size=4)
    for column in origin_columns(viewer, 0, 5):
        assert column.null_count == 4
