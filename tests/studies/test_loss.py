from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import OutOfRangeError, ParameterError, PileToolsError
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.studies.exposure import times_seen
from pile_tools.studies.loss import check_plot, loss_by_exposure, plot_exposure
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import open_model
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.train import train
from pile_tools.viewer import BatchViewer
from tests.studies.small import make_own, make_stream


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


def test_what_can_be_drawn_is_known_before_it_is_measured(place: StreamPlace, tmp_path: Path) -> None:
    viewer = place.open()
    fetch_steps(viewer, 0, 2, tmp_path / "first")
    fetch_steps(viewer, 1, 3, tmp_path / "later")
    fetch_steps(viewer, 0, 2, tmp_path / "bare", tokens_only=True)
    assert check_plot(StreamPlace(str(tmp_path / "first"))).steps == 2
    with pytest.raises(PileToolsError, match="begins with step 1, and what earlier ones read is not known"):
        check_plot(StreamPlace(str(tmp_path / "later")))
    with pytest.raises(ParameterError, match="leave --plot out"):
        check_plot(StreamPlace(str(tmp_path / "bare")))
    sequences = viewer.trace(1, 0).select(["document", "offset", "n_tokens"])
    expected = times_seen(viewer, sequences, 2)
    assert expected.any()
    assert np.array_equal(times_seen(BatchViewer.open(tmp_path / "first"), sequences, 2), expected)
    with pytest.raises(PileToolsError, match="begins with step 1"):
        times_seen(BatchViewer.open(tmp_path / "later"), sequences, 2)
