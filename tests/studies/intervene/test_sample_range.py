"""Ranges of samples that may change, and their pieces."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import (
    OutOfRangeError,
    ParameterError,
)
from pile_tools.stages.order.order import make_order
from pile_tools.stream.opening import open_location
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.studies.intervene.sample_range import sample_range
from tests.studies.intervene.conftest import batches


def test_pieces_of_a_range_are_those_that_a_trace_names(data: Path) -> None:
    viewer = BatchViewer.open(data)
    seen: list[tuple[str, int, int]] = []
    stream = open_location(data, None, "mmap", None)
    samples = sample_range(stream, 4, 2, 5, lambda label, done, total: seen.append((label, done, total)))
    assert (samples.first, samples.last, samples.from_step, samples.to_step) == (8, 20, 2, 5)
    columns = ("document", "offset", "n_tokens")
    expected = {
        4 * step + row: [
            tuple(piece[name] for name in columns) for piece in viewer.trace(step, row).to_pylist()
        ]
        for step in range(2, 5)
        for row in range(4)
    }
    [block] = samples.blocks("text")
    assert seen == [("text", 12, 12)]
    assert dict(zip(block.tolist(), samples.pieces(block), strict=True)) == expected
    packed = samples.component.packed_numbers(samples.positions(block)).tolist()
    assert [samples.packed(index) for index in packed] == list(expected.values())
    wanted = {expected[9][0][0], expected[17][-1][0]}
    assert samples.holding(wanted) == {
        sample: pieces for sample, pieces in expected.items() if wanted & {piece[0] for piece in pieces}
    }


def test_a_range_ends_with_its_stream_and_names_steps_that_are_not_there(data: Path) -> None:
    viewer = BatchViewer.open(data)
    stream = open_location(data, None, "mmap", None)
    assert sample_range(stream, 4, 3, None).to_step == viewer.steps
    for start, stop in ((5, 5), (5, viewer.steps + 1), (-1, 4)):
        with pytest.raises(OutOfRangeError, match=f"which has steps 0:{viewer.steps} at batch size 4"):
            sample_range(stream, 4, start, stop)


def test_a_sequential_stream_without_documents(data: Path, tmp_path: Path) -> None:
    from pile_tools.formats.mmidx import write_index

    parent = batches(BatchViewer.open(data))
    directory = tmp_path / "shuffled"
    directory.mkdir()
    flat = parent.reshape(-1, 33)
    (directory / "document.bin").write_bytes(flat.tobytes())
    write_index(directory / "document.idx", flat.dtype, np.full(len(flat), 33))
    shutil.copy(data / "tokenizer.json", directory)
    make_order(directory, seq_length=32, batch_size=4, steps=len(flat) // 4, recipe="sequential")
    swap = Intervention(swap="pronouns", allow_length_change=True)
    change = intervene(directory, tmp_path / "o", swap, from_step=2)
    viewer = BatchViewer.open(tmp_path / "o")
    assert np.array_equal(viewer.batch(1), parent[1])
    assert change.samples > 0
    assert viewer.trace(3, 0).column("document").null_count == 1
    with pytest.raises(ParameterError, match="boundaries of documents are not known"):
        intervene(directory, tmp_path / "p", Intervention(drop=["3"]), from_step=2)
