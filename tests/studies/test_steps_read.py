"""What a checkpoint had read before is told only from the stream that it has read."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, ParameterError
from pile_tools.jobs.resumable_table import read_description
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.studies.loss import loss_by_exposure, plot_exposure
from pile_tools.studies.memorize import memorize
from pile_tools.studies.memorize_report import memorize_report
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.train import train
from pile_tools.viewer import BatchViewer
from tests.studies.small import make_own, make_stream


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on ``data``, and forks of its step 2 on ``overlay``, which differs from step 3 on, and on
    ``other``.
    """
    root = tmp_path_factory.mktemp("reading")
    make_stream(root / "data")
    make_stream(root / "other", documents=40)
    intervene(
        root / "data", root / "overlay", Intervention(drop=[",".join(map(str, range(10)))]), from_step=3
    )
    settings: dict[str, Any] = {"device": "cpu", "micro_batch_size": 4, "steps": 5}
    config = str(make_own(root / "model") / "config.json")
    viewer = BatchViewer.open(root / "data")
    train(viewer, root / "run", model=config, learning_rate=0.01, schedule="2", **settings)
    for name in ("overlay", "other"):
        viewer = BatchViewer.open(root / name)
        train(viewer, root / f"on-{name}", source=root / "run/step2", schedule="3", **settings)
    return root


CASES = [
    ("run/step5", "data", True),
    ("on-overlay/step5", "overlay", True),  # the steps before the fork are the same bytes
    ("on-overlay/step3", "data", True),
    ("on-overlay/step5", "data", False),
    ("on-other/step5", "other", False),
    ("on-other/step5", "data", False),
    ("run/step5", "other", False),
]


@pytest.mark.parametrize(("model", "stream", "known"), CASES)
def test_what_was_read_before_is_counted_only_where_it_was_read(
    home: Path, tmp_path: Path, model: str, stream: str, known: bool
) -> None:
    place, name = StreamPlace(str(home / stream)), ModelName(str(home / model))
    path, picture = tmp_path / "mem.parquet", tmp_path / "plot.png"
    memorize(place, name, path, start=0, stop=8, k=4, l=4)
    report = loss_by_exposure(place, name, start=4, stop=6)
    if known:
        assert memorize_report(path, every=2, threshold=0.01, viewer=place.open()).by_times_seen
        plot_exposure(report, place, picture)
    else:
        assert memorize_report(path, every=2, threshold=0.01).by_times_seen is None
        with pytest.raises(DataError, match=r"has read other bytes, in steps \d:\d"):
            memorize_report(path, every=2, threshold=0.01, viewer=place.open())
        with pytest.raises(DataError, match=r"has read other bytes, in steps \d:\d"):
            plot_exposure(report, place, picture)
    assert picture.exists() is known


def test_a_table_records_what_its_checkpoint_has_read(home: Path, tmp_path: Path) -> None:
    place, path = StreamPlace(str(home / "other")), tmp_path / "mem.parquet"
    memorize(place, ModelName(str(home / "on-other/step5")), path, start=0, stop=4, k=4, l=4)
    parameters = read_description(path)["parameters"]
    spans = [(one["first_step"], one["last_step"]) for one in parameters["lineage"]]
    assert (parameters["checkpoint_steps"], spans) == (5, [(0, 2), (2, 5)])
    assert len(parameters["digest"]) == 64
    with pytest.raises(ParameterError, match="records 5 steps, not 3"):
        memorize_report(path, every=2, threshold=0.01, viewer=place.open(), checkpoint_steps=3)
    plain = make_own(tmp_path / "step3")
    memorize(place, ModelName(str(plain)), tmp_path / "plain.parquet", start=0, stop=4, k=4, l=4)
    assert read_description(tmp_path / "plain.parquet")["parameters"]["lineage"] is None
    assert pq.read_table(path).num_rows == 16
