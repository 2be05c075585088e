"""The recipe of a run: what is fixed from its first step to its last, as plain values.

Floats are kept as the shortest text that reads back to the same number, so that manifests hold no floats.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pile_tools.errors import OccupiedError, OutOfRangeError, ParameterError
from pile_tools.train import optimizer, schedule
from pile_tools.train.checkpoint_files import CONFIG_NAME
from pile_tools.train.hardware import DTYPES
from pile_tools.train.model import GPTNeoX
from pile_tools.train.sizes import SIZES
from pile_tools.train.weights import model_from_config

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = ["SEED", "build_model", "model_shape", "resolve"]

SEED: Final = 1234
_FLOATS: Final = ("rotary_share", "rotary_base", "eps")


def model_shape(model: str, seq_length: int) -> tuple[dict[str, Any], float | None]:
    """Return the shape of the model that ``model`` names, and its peak learning rate where it has one.

    ``model`` is a size (``sizes.SIZES``), or the path of a ``config.json`` or of a directory that holds one.
    """
    if model in SIZES:
        size = SIZES[model]
        shape = {
            "layers": size.layers,
            "width": size.width,
            "heads": size.heads,
            "vocab": size.vocab,
            "inner": 4 * size.width,
            "max_positions": max(2048, seq_length),
            "rotary_share": "0.25",
            "rotary_base": "10000.0",
            "eps": "1e-05",
        }
        return shape, size.learning_rate
    path = Path(model)
    path = path / CONFIG_NAME if path.is_dir() else path
    if not path.is_file():
        raise ParameterError(f"model {model!r}: neither a size ({', '.join(SIZES)}) nor a config.json")
    return shape_of(model_from_config(path)), None


def shape_of(model: GPTNeoX) -> dict[str, Any]:
    """Return the shape of ``model``, from which ``build_model`` makes it again."""
    return {
        "layers": model.n_layers,
        "width": model.width,
        "heads": model.heads,
        "vocab": model.vocab,
        "inner": model.inner,
        "max_positions": model.max_positions,
        "rotary_share": repr(model.rotary_share),
        "rotary_base": repr(model.rotary_base),
        "eps": repr(model.eps),
    }


def build_model(shape: Mapping[str, Any]) -> GPTNeoX:
    """Return a model of the shape that a recipe records; its weights are not set."""
    values: dict[str, Any] = {key: float(value) if key in _FLOATS else value for key, value in shape.items()}
    return GPTNeoX(**values)


def resolve(
    viewer: "BatchViewer",
    model: str | None,
    given: Mapping[str, Any],
    recorded: Mapping[str, Any] | None,
    *,
    begin: Path | None,
    done: int,
    fork: bool,
) -> dict[str, Any]:
    """Return the recipe of a run: what is ``given`` and not None, else what is ``recorded``, else defaults.

    The run has made ``done`` steps; ``given`` has steps, learning_rate, schedule, seed and dtype. Where a
    recipe is recorded with the checkpoint ``begin``, a given value that differs from it raises
    OccupiedError, unless the run is a ``fork``, which may change all but the model. ParameterError or
    OutOfRangeError for values that cannot be.
    """
    shape, peak = (None, None) if model is None else model_shape(model, viewer.seq_length)
    wanted = {"model": shape, **given}
    if given["learning_rate"] is not None:
        wanted["learning_rate"] = repr(float(given["learning_rate"]))
    if recorded is None:
        if shape is None:
            raise ParameterError(f"no model; name one with --model: {', '.join(SIZES)}, or a config.json")
        if peak is None and given["learning_rate"] is None:
            raise ParameterError(f"model {model}: no learning rate goes with it; give one with --lr")
        recorded = _defaults(viewer.steps, peak)
    else:
        for key, value in wanted.items():
            if value is not None and recorded[key] != value and (key == "model" or not fork):
                raise OccupiedError(
                    f"{begin}: {key} {_text(recorded[key])}, now {_text(value)}; leave the option out, "
                    "or begin another run"
                )
    recipe = {**recorded, **{key: value for key, value in wanted.items() if value is not None}}
    _check(recipe, viewer, done)
    return recipe


def _defaults(steps: int, peak: float | None) -> dict[str, Any]:
    return {
        "steps": steps,
        "learning_rate": repr(peak),
        "schedule": schedule.CHECKPOINTS,
        "seed": SEED,
        "dtype": "float32",
        "optimizer": {
            "name": "Adam, weight decay on matrices and decoupled",
            "betas": [repr(beta) for beta in optimizer.BETAS],
            "eps": repr(optimizer.EPS),
            "weight_decay": repr(optimizer.WEIGHT_DECAY),
            "clip": repr(optimizer.CLIP),
        },
    }


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _check(recipe: Mapping[str, Any], viewer: "BatchViewer", done: int) -> None:
    if recipe["dtype"] not in DTYPES:
        raise ParameterError(f"dtype {recipe['dtype']!r} is none of {', '.join(DTYPES)}")
    if not 0 < float(recipe["learning_rate"]) < float("inf"):
        raise ParameterError(f"learning_rate {recipe['learning_rate']} must be above 0")
    if not 0 <= recipe["seed"] < 1 << 63:
        raise ParameterError(f"seed {recipe['seed']} must be from 0 to 2**63 - 1")
    schedule.checkpoint_due(recipe["schedule"])
    if recipe["steps"] < 1:
        raise ParameterError(f"steps {recipe['steps']} must be at least 1")
    if viewer.first_step > done:
        raise OutOfRangeError(
            f"{viewer.order.name}: the stream is here from step {viewer.first_step} on, but training needs "
            f"step {done}; fetch the steps before as well"
        )
    if recipe["steps"] > viewer.steps:
        raise OutOfRangeError(
            f"{viewer.order.name}: {recipe['steps']} steps of {viewer.batch_size} sequences, but the stream "
            f"has {viewer.steps}; make a longer order with `pile-tools order`, or name fewer with --steps"
        )
