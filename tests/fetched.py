"""Fetched steps beside the stream that they are of."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pile_tools import BatchViewer
from pile_tools.formats.origins_json import PIECES_NAME, STARTS_NAME
from pile_tools.stages.fetch.fetch import fetch_steps
from tests.lookups.conftest import MakeStream

ARRAYS = (STARTS_NAME, PIECES_NAME)


def whole_stream(make_stream: MakeStream) -> BatchViewer:
    """Nine documents, one of them empty, in an order of 20 steps, with their addresses."""
    documents = [[number % 11] * size for number, size in enumerate((9, 4, 0, 17, 3, 8, 2, 30, 5))]
    return make_stream(documents, num_samples=40, provenance=True)


def fetched(viewer: BatchViewer, start: int, stop: int, output: Path) -> BatchViewer:
    """Fetch steps [start, stop) and open them."""
    fetch_steps(viewer, start, stop, output)
    return BatchViewer.open(output)


def of_steps(table: pa.Table, start: int, stop: int) -> list[dict[str, Any]]:
    """Return the rows of steps [start, stop)."""
    step = table.column("step")
    rows: list[dict[str, Any]] = table.filter(
        pc.and_(pc.greater_equal(step, start), pc.less(step, stop))
    ).to_pylist()
    return rows


def everything(viewer: BatchViewer) -> list[object]:
    """All that is said of documents."""
    steps = range(viewer.first_step, viewer.steps)
    return [
        viewer.seen(documents=range(9)).to_pylist(),
        viewer.repeats(every=2).to_pylist(),
        viewer.mixture(every=2).to_pylist(),
        *(viewer.trace(step, row).to_pylist() for step in steps for row in range(viewer.batch_size)),
    ]
