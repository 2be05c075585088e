"""An overlay as a component of a stream: what it says of documents, of its parent and of itself."""

from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.fetched import fetched, whole_stream
from tests.lookups.conftest import MakeStream


@pytest.fixture
def whole(make_stream: MakeStream) -> BatchViewer:
    return whole_stream(make_stream)


def test_an_overlay_of_fetched_steps_has_no_documents(whole: BatchViewer, tmp_path: Path) -> None:
    fetched(whole, 3, 9, tmp_path / "steps")
    (tmp_path / "table.tsv").write_text("a\tb\n")
    intervene(tmp_path / "steps", tmp_path / "o", Intervention(swap=str(tmp_path / "table.tsv")), from_step=4)
    changed = BatchViewer.open(tmp_path / "o")
    assert not changed.knows_documents
    assert np.array_equal(changed.batch(3), whole.batch(3))
    with pytest.raises(ParameterError, match="boundaries of documents are not known"):
        intervene(tmp_path / "steps", tmp_path / "p", Intervention(drop=["1"]), from_step=4)
