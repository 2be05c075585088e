"""How often a stream has read a sequence, and when last, against a reading of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pile_tools.errors import OutOfRangeError
from pile_tools.stages.order.order import make_order
from pile_tools.studies.exposure import last_seen, times_seen
from pile_tools.studies.row_documents import ORIGIN_FIELDS, origin_columns
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.viewer import BatchViewer
from tests.token_data import write_dataset


def test_exposure_is_that_of_a_reading_of_the_stream(place: StreamPlace) -> None:
    """Two epochs that cut documents at different places: a sequence is read where its middle is an input."""
    viewer: BatchViewer = place.open()
    until = viewer.steps - 3
    read: dict[tuple[int, int], set[int]] = {}
    for step in range(until):
        for row in range(viewer.batch_size):
            for piece in viewer.trace(step, row).to_pylist():
                for token in range(min(piece["n_tokens"], viewer.seq_length - piece["position"])):
                    read.setdefault((piece["document"], piece["offset"] + token), set()).add(step)
    random = np.random.RandomState(3)
    document = np.append(random.randint(0, 30, 200), [3, 3])
    offset = np.append(random.randint(0, 90, 200), [2, 2])
    n_tokens = np.append(random.randint(1, 49, 200), [9, 10])  # of both, token 6 is the middle
    sequences = pa.table({"document": document, "offset": offset, "n_tokens": n_tokens})
    steps = [
        read.get((one, two + (three - 1) // 2), set())
        for one, two, three in zip(document.tolist(), offset.tolist(), n_tokens.tolist(), strict=True)
    ]
    assert times_seen(viewer, sequences, until).tolist() == [len(found) for found in steps]
    assert last_seen(viewer, sequences, until).tolist() == [max(found, default=-1) for found in steps]
    assert {len(found) for found in steps} == {0, 1, 2}
    assert times_seen(viewer, sequences, 0).tolist() == [0] * 202
    assert last_seen(viewer, sequences.slice(0, 0), until).tolist() == []
    with pytest.raises(OutOfRangeError, match="a checkpoint after"):
        times_seen(viewer, sequences, viewer.steps + 1)


def test_in_one_epoch_a_sequence_is_read_once_or_not_at_all(tmp_path: Path) -> None:
    """Documents are longer than sequences: other steps read other parts of the same ones."""
    write_dataset(tmp_path / "tokens", [np.arange(200, dtype="<u2")] * 20)
    make_order(tmp_path / "tokens", seq_length=16, batch_size=4, steps=4000 // 16 // 4)
    viewer = BatchViewer.open(tmp_path / "tokens")
    steps = np.repeat(np.arange(viewer.steps), 4)
    until = viewer.steps - 20
    for n_tokens in (5, 17):
        tables = [
            pa.table(origin_columns(viewer, step, n_tokens), schema=pa.schema(ORIGIN_FIELDS))
            for step in range(viewer.steps)
        ]
        sequences = pa.concat_tables(tables)
        assert times_seen(viewer, sequences, until).tolist() == (steps < until).tolist()
        assert last_seen(viewer, sequences, until).tolist() == np.where(steps < until, steps, -1).tolist()
