"""Recipes of runs: what is given, what is recorded, and what may not change between them."""

from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import OutOfRangeError, ParameterError, PileToolsError
from pile_tools.train.recipe import build_model, model_shape, resolve, shape_of
from pile_tools.train.sizes import SIZES
from tests.train.small import make_stream, write_config

GIVEN: dict[str, Any] = dict.fromkeys(("steps", "learning_rate", "schedule", "seed", "dtype"))


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> BatchViewer:
    directory = tmp_path_factory.mktemp("recipe")
    make_stream(directory / "data")
    return BatchViewer.open(directory / "data")


def made(viewer: BatchViewer, model: str | None, recorded: Any = None, **changes: Any) -> dict[str, Any]:
    run = {"begin": None, "done": 0, "fork": False}
    run |= {name: changes.pop(name) for name in list(changes) if name in run}
    return resolve(viewer, model, GIVEN | changes, recorded, **run)


def test_a_model_is_made_again_of_its_shape(tmp_path: Path) -> None:
    write_config(tmp_path / "model")
    for name in (str(tmp_path / "model"), str(tmp_path / "model" / "config.json")):
        shape, rate = model_shape(name, 12)
        assert rate is None
        assert shape_of(build_model(shape)) == shape
    with pytest.raises(ParameterError, match=r"neither a size \(1m, 14m, .*nor a config\.json"):
        model_shape("15m", 12)


def test_a_size_has_its_learning_rate_and_room_for_the_stream() -> None:
    for name, size in SIZES.items():
        shape, rate = model_shape(name, 12)
        assert (shape["layers"], shape["width"], rate) == (size.layers, size.width, size.learning_rate)
        assert shape["max_positions"] == 2048
    assert model_shape("14m", 4096)[0]["max_positions"] == 4096


def test_defaults_and_what_is_given(viewer: BatchViewer) -> None:
    recipe = made(viewer, "14m")
    assert (recipe["steps"], recipe["learning_rate"]) == (viewer.steps, repr(SIZES["14m"].learning_rate))
    changed = made(viewer, "14m", steps=3, learning_rate=0.5, seed=7)
    assert changed == recipe | {"steps": 3, "learning_rate": "0.5", "seed": 7}


def test_a_recorded_recipe_stays_and_a_fork_may_change_all_but_the_model(viewer: BatchViewer) -> None:
    recorded = made(viewer, "14m", steps=3)
    begin = Path("run/step2")
    assert made(viewer, None, recorded, begin=begin, done=2) == recorded
    assert made(viewer, "14m", recorded, begin=begin, done=2, steps=3) == recorded
    for changes in ({"steps": 4}, {"seed": 9}, {"learning_rate": 0.1}, {"schedule": "1"}):
        ((key, value),) = changes.items()
        with pytest.raises(PileToolsError, match=rf"step2: {key} .*, now {value}; leave the option out"):
            made(viewer, None, recorded, begin=begin, done=2, **changes)
        forked = made(viewer, None, recorded, begin=begin, done=2, fork=True, **changes)
        assert {name for name in forked if forked[name] != recorded[name]} == {key}
    with pytest.raises(PileToolsError, match="step2: model"):
        made(viewer, "31m", recorded, begin=begin, done=2, fork=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "dtype 'int8' is none of"),
        ({"learning_rate": 0}, "learning_rate 0.0 must be above 0"),
        ({"learning_rate": float("inf")}, "learning_rate inf"),
        ({"learning_rate": float("nan")}, "learning_rate nan"),
        ({"seed": -1}, "seed -1"),
        ({"seed": 2**63}, "seed 9223372036854775808"),
        ({"steps": 0}, "steps 0 must be at least 1"),
        ({"schedule": "often"}, "often"),
    ],
)
def test_values_that_cannot_be(changes: dict[str, Any], message: str, viewer: BatchViewer) -> None:
    with pytest.raises(ParameterError, match=message):
        made(viewer, "14m", **changes)


def test_steps_that_the_stream_does_not_have(viewer: BatchViewer) -> None:
    with pytest.raises(OutOfRangeError, match=f"but the stream has {viewer.steps}"):
        made(viewer, "14m", steps=viewer.steps + 1)


def test_a_new_run_needs_a_model_and_a_rate(viewer: BatchViewer, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no model; name one"):
        made(viewer, None)
    write_config(tmp_path / "model")
    with pytest.raises(ParameterError, match="no learning rate goes with it"):
        made(viewer, str(tmp_path / "model"))
