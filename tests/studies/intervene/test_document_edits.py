"""Documents dropped, replaced or moved."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import (
    OutOfRangeError,
)
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches, check_traces


def test_dropped_documents_are_not_shown_in_the_range(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    pq.write_table(pa.table({"document": pa.array([7, 8], pa.int32())}), tmp_path / "list.parquet")
    intervention = Intervention(drop=["3,4", str(tmp_path / "list.parquet"), "source:s1"])
    change = intervene(data, tmp_path / "o", intervention, from_step=1, to_step=parent.steps - 1)
    viewer = BatchViewer.open(tmp_path / "o")
    gone = {3, 4, 7, 8, *(n for n in range(60) if n % 3 == 1)}
    changed = 0
    for step in range(viewer.steps):
        for row in range(4):
            before = {p["document"] for p in parent.trace(step, row).to_pylist()}
            shown = {p["document"] for p in viewer.trace(step, row).to_pylist()}
            if not 1 <= step < viewer.steps - 1 or not before & gone:
                assert np.array_equal(viewer.sequence(step, row), parent.sequence(step, row))
            else:
                assert not shown & gone
                changed += 1
    assert changed == change.samples
    check_traces(viewer, parent, range(viewer.steps))


def test_moved_documents_change_places_with_what_was_there(data: Path, tmp_path: Path) -> None:
    parent = BatchViewer.open(data)
    sizes = np.array([len(parent.dataset.sequence(n)) for n in range(60)])
    document = int(sizes.argmin())
    change = intervene(data, tmp_path / "o", Intervention(move=[(str(document), 6)]), from_step=0)
    viewer = BatchViewer.open(tmp_path / "o")
    places = {
        s
        for s in range(viewer.steps)
        for r in range(4)
        if document in viewer.trace(s, r).column("document").to_pylist()
    }
    assert places == {6}
    assert change.samples >= 2
    assert change.repeated == change.cut == 0
    assert np.load(tmp_path / "o/documents.npy").tolist() == [document]
    assert Counter(batches(viewer).ravel().tolist()) == Counter(batches(parent).ravel().tolist())
    check_traces(viewer, parent, range(viewer.steps))
    with pytest.raises(OutOfRangeError, match="inside of the range"):
        intervene(data, tmp_path / "p", Intervention(move=[("3", 2)]), from_step=3)
