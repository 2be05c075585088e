"""Digests of steps, and those that are stored with an order: whether they speak for its tokens."""

from dataclasses import replace

import numpy as np
import pytest
import xxhash

from pile_tools import BatchViewer
from pile_tools.errors import DataError
from pile_tools.lookups import digests
from pile_tools.lookups.digests import (
    compare_steps,
    differences,
    digest_record,
    digest_steps,
    stored_digests,
    trusted_digests,
)
from pile_tools.stages.digest import digest
from tests.lookups.conftest import MakeStream, directory_of

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(60)]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_digests_are_those_of_the_bytes(
    chunk: int, make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_CHUNK", chunk)
    viewer = make_stream(DOCUMENTS, num_samples=40)
    for start, stop in ((0, 20), (3, 4), (5, 12)):
        rows = np.concatenate(list(digest_steps(viewer.stream, start, stop)))
        expected = [xxhash.xxh3_128_digest(viewer.batch(step).tobytes()) for step in range(start, stop)]
        assert [row.tobytes() for row in rows] == expected


def test_the_first_step_that_differs(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    record = digest_record(viewer.stream)
    rows = np.concatenate(list(digest_steps(viewer.stream, 0, 20)))
    compare_steps(viewer.stream, (record, rows), 0, 20)
    compare_steps(viewer.stream, (replace(record, first_step=5), rows[5:]), 7, 20)
    rows[[7, 11], 3] ^= 1
    for start, step in ((0, 7), (7, 7), (8, 11)):
        with pytest.raises(DataError, match=f"step {step} is the first that differs"):
            compare_steps(viewer.stream, (record, rows), start, 20)
    compare_steps(viewer.stream, (record, rows), 12, 20)


def test_stored_digests_are_those_of_this_stream(make_stream: MakeStream) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    assert stored_digests(viewer.stream) is None
    assert trusted_digests(viewer.stream) is None
    summary = digest(viewer)
    directory = directory_of(viewer)
    stream = BatchViewer.open(directory).stream
    stored = stored_digests(stream)
    assert stored is not None
    assert stored[0] == summary.record
    trusted = trusted_digests(stream)
    assert trusted is not None
    assert np.array_equal(trusted, stored[1])
    # Of steps of another size they say nothing.
    assert trusted_digests(BatchViewer.open(directory, batch_size=4).stream) is None
    record = replace(summary.record, seq_length=6)
    assert differences(summary.record, record) == "seq_length 5, not 6"
    summary.path.with_suffix(".json").write_bytes(record.to_bytes())
    with pytest.raises(DataError, match=r"digests of another stream \(seq_length 6, not 5\)"):
        stored_digests(BatchViewer.open(directory).stream)
    assert trusted_digests(BatchViewer.open(directory).stream) is None
    summary.path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match="its digests are missing"):
        stored_digests(BatchViewer.open(directory).stream)
