from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.studies.exposure import last_seen, times_seen
from pile_tools.studies.loss import loss_by_exposure, plot_exposure
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import open_model
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.train import train
from pile_tools.viewer import BatchViewer
from tests.studies.small import make_own, make_stream


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> StreamPlace:
    return StreamPlace(str(make_stream(tmp_path_factory.mktemp("stream") / "tokens")))


def test_losses_are_the_models_and_what_was_read_is_seen(place: StreamPlace, tmp_path: Path) -> None:
    viewer = place.open()
    config = make_own(tmp_path / "config") / "config.json"
    train(
        viewer, tmp_path / "run", model=str(config), steps=3, learning_rate=0.01, schedule="2", device="cpu"
    )
    name = ModelName(str(tmp_path / "run/step2"))
    report = loss_by_exposure(place, name, start=0, stop=5, model_batch_size=3)
    model = open_model(name)
    table = report.table.to_pylist()
    assert [(row["step"], row["row"]) for row in table] == [(s, r) for s in range(5) for r in range(4)]
    for row in table:
        expected = model.token_losses(viewer.sequence(row["step"], row["row"])[None]).mean()
        assert row["loss"] == pytest.approx(float(expected), rel=1e-5)
        assert row["seen"] is (row["step"] < 2)
    assert [(group.seen, group.sequences) for group in report.totals] == [(True, 8), (False, 12)]
    seen = [row["loss"] for row in table if row["seen"]]
    assert report.totals[0].loss == pytest.approx(np.mean(seen))
    assert report.totals[0].error == pytest.approx(np.std(seen, ddof=1) / 8**0.5)
    plot_exposure(report, place, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    other = StreamPlace(str(make_stream(tmp_path / "other", documents=40)))
    assert {row["seen"] for row in loss_by_exposure(other, name, start=0, stop=3).table.to_pylist()} == {
        None,
        False,
    }
    with pytest.raises(ParameterError, match="give --batch-size 4"):
        loss_by_exposure(StreamPlace(place.data, batch_size=2), name, start=0, stop=3)
    with pytest.raises(ParameterError, match="records 2 steps, not 3"):
        loss_by_exposure(place, name, start=0, stop=3, checkpoint_steps=3)
    with pytest.raises(ParameterError, match="say it with --checkpoint-steps"):
        loss_by_exposure(place, ModelName(str(tmp_path / "config")), start=0, stop=3)
    with pytest.raises(OutOfRangeError, match="has read 9999 steps"):
        loss_by_exposure(place, ModelName(str(tmp_path / "config")), start=0, stop=3, checkpoint_steps=9999)


def test_exposure_is_that_of_a_reading_of_the_stream(place: StreamPlace) -> None:
    viewer: BatchViewer = place.open()
    until = viewer.steps - 3
    read: dict[int, set[int]] = {}
    for step in range(until):
        for row in range(viewer.batch_size):
            for document in viewer.trace(step, row).column("document").to_pylist():
                read.setdefault(document, set()).add(step)
    documents = np.array([*range(30), 3, 3])
    assert times_seen(viewer, documents, until).tolist() == [len(read.get(d, ())) for d in documents.tolist()]
    expected = [max(read.get(document, {-1})) for document in documents.tolist()]
    assert last_seen(viewer, documents, until).tolist() == expected
    assert times_seen(viewer, documents, 0).tolist() == [0] * 32
    with pytest.raises(OutOfRangeError, match="a checkpoint after"):
        times_seen(viewer, documents, viewer.steps + 1)
