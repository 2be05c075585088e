"""Runs, their forks and what they refuse: another stream, another recipe, a foreign directory."""

import json
from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.storage.manifest import Manifest
from pile_tools.train import read_metrics, train
from pile_tools.train.schedule import learning_rate
from tests.train.small import (
    BATCH_SIZE,
    SEQ_LENGTH,
    STEPS,
    begin,
    differing,
    make_stream,
    resume,
)


def test_fork_goes_on_with_another_stream(home: Path) -> None:
    make_stream(home / "other", seed=1)
    other = BatchViewer.open(home / "other")
    source = home / "whole" / "step6"
    train(other, home / "fork", source=source, stop_at=7, micro_batch_size=4, device="cpu")
    assert [path.name for path in sorted((home / "fork").glob("step*"))] == ["step6", "step7"]
    assert differing(home / "fork" / "step6", source) == ["data.json", "manifest.json", "parents"]
    outcome = train(other, home / "fork", resume=True, micro_batch_size=4, device="cpu")
    assert (outcome.steps_done, outcome.tokens) == (STEPS, STEPS * BATCH_SIZE * SEQ_LENGTH)
    assert [line["step"] for line in read_metrics(home / "fork")] == [6, 7, 8]
    lineage = json.loads((home / "fork" / "step9" / "data.json").read_text())["lineage"]
    assert [(part["first_step"], part["last_step"], part["parent"]) for part in lineage] == [
        (0, 6, None),
        (6, 9, Manifest.read(source).identity),
    ]
    assert lineage[1]["stream"]["identity"] == other.identity
    # On the same stream a fork is the run itself.
    train(BatchViewer.open(home / "data"), home / "same", source=source, micro_batch_size=4, device="cpu")
    assert differing(home / "same" / "step9", home / "whole" / "step9") == [
        "data.json",
        "manifest.json",
        "parents",
    ]


def test_fork_may_change_all_but_the_model(home: Path) -> None:
    source = home / "whole" / "step6"
    with pytest.raises(PileToolsError, match="step6: model"):
        begin(home, "bad-fork", source=source, model="14m", learning_rate=None)
    with pytest.raises(ParameterError, match="6 steps are done, of 5"):
        begin(home, "bad-fork", source=source, steps=5)
    with pytest.raises(ParameterError, match="to resume a fork leave --from out"):
        begin(home, "bad-fork", source=source, resume=True)
    with pytest.raises(PileToolsError, match="no checkpoint of `pile-tools train`"):
        begin(home, "bad-fork", source=home / "model")
    outcome = begin(home, "longer", source=source, steps=11, learning_rate=1e-4, dtype="bfloat16", seed=3)
    assert outcome.steps_done == 11
    assert read_metrics(home / "longer")[0]["lr"] == learning_rate(6, 11, 1e-4)


def test_resume_refuses_another_stream_and_recipe(home: Path) -> None:
    begin(home, "refusing", stop_at=2)
    make_stream(home / "elsewhere", seed=5)
    with pytest.raises(DataError, match=r"step2: was trained on another stream: datasets .*, now .*--from"):
        train(BatchViewer.open(home / "elsewhere"), home / "refusing", resume=True)
    with pytest.raises(DataError, match="batch_size 6, now 3"):
        train(BatchViewer.open(home / "data", batch_size=3), home / "refusing", resume=True)
    for key, value in {"steps": 8, "learning_rate": 0.02, "seed": 5, "dtype": "bfloat16"}.items():
        with pytest.raises(PileToolsError, match=f"step2: {key} .*, now {value}"):
            resume(home, "refusing", **{key: value})
    with pytest.raises(PileToolsError, match="an unfinished run, at step2; go on with --resume"):
        begin(home, "refusing")
    with pytest.raises(PileToolsError, match="no run to resume"):
        resume(home, "never")
    assert not (home / "never").exists()


def test_finished_runs_and_foreign_directories_are_left_alone(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("*")}
    for outcome in (begin(home, "whole"), resume(home, "whole")):
        assert (outcome.steps_done, outcome.tokens, outcome.loss) == (STEPS, 1080, None)
    with pytest.raises(PileToolsError, match="finished by a different job: recipe: seed 1234, now 5"):
        begin(home, "whole", seed=5)
    assert {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("*")} == before
    with pytest.raises(PileToolsError, match="already holds something else"):
        begin(home, "data")


def test_parameters_that_cannot_be(home: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], type[PileToolsError], str]] = [
        ({"model": None}, ParameterError, "name one with --model"),
        ({"model": "15m"}, ParameterError, "neither a size"),
        ({"learning_rate": None}, ParameterError, "give one with --lr"),
        ({"learning_rate": 0.0}, ParameterError, r"learning_rate 0\.0"),
        ({"learning_rate": float("nan")}, ParameterError, "learning_rate nan"),
        ({"steps": 0}, ParameterError, "steps 0"),
        ({"steps": 13}, OutOfRangeError, "13 steps of 6 sequences, but the stream has 12"),
        ({"seed": -1}, ParameterError, "seed -1"),
        ({"dtype": "int8"}, ParameterError, "dtype 'int8'"),
        ({"schedule": "often"}, ParameterError, "'often'"),
        ({"micro_batch_size": 0}, ParameterError, "micro_batch_size 0"),
        ({"stop_at": -1}, ParameterError, "stop_at -1"),
    ]
    for settings, error, message in cases:
        with pytest.raises(error, match=message):
            begin(home, "never", **settings)
        assert not (home / "never").exists(), settings
