"""Checkpoints: directories ``stepN/`` that transformers opens and that training goes on from.

Each holds ``config.json`` and ``model.safetensors``; the Adam state (``optimizer-R-of-D.safetensors``, where
``optimizer.json`` says which part of which parameter is where); the generator's state; what was read
(``data.json``, ``digests.npy``); and ``manifest.json`` with the recipe and the SHA-256 of every file.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.atomic import fsync_directory
from pile_tools.formats.manifest import Manifest, canonical_json, file_entry
from pile_tools.train.ancestors import Ancestors
from pile_tools.train.files import GENERATOR_NAME, OPTIMIZER_NAME, STAGE, read_layout
from pile_tools.train.model import GPTNeoX
from pile_tools.train.optimizer import FlatAdam
from pile_tools.train.parallel import World
from pile_tools.train.record import DataRecord
from pile_tools.train.weights import load_weights, save_model, save_tensors

__all__ = ["State", "load_state", "write_checkpoint"]


@dataclass(slots=True)
class State:
    """What changes from step to step, and is in a checkpoint.

    ``loss_scale`` is the exponent of the power of two that float16 multiplies the loss by, and the number of
    steps since it last changed; [0, 0] in other dtypes.
    """

    model: GPTNeoX
    adam: FlatAdam
    generator: torch.Generator
    record: DataRecord
    loss_scale: list[int]


def write_checkpoint(
    run: Path,
    work: Path,
    state: State,
    recipe: Mapping[str, Any],
    machine: Mapping[str, Any],
    ancestors: Ancestors,
    world: World,
) -> Path:
    """Write the checkpoint ``run/stepN``, every process its part; it appears whole or not at all.

    It is written under ``work``, on the same file system, flushed and renamed. Raises PileToolsError on every
    process if one of them fails, and leaves nothing behind.
    """
    name = f"step{state.record.steps}"
    partial, place = work / name, run / name

    def clear() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    try:
        _together(world, [clear], [])
        _together(world, [lambda: _write_common(partial, state)], [lambda: state.adam.save(partial)])
        _together(world, [lambda: _publish(partial, place, state.record, recipe, machine, ancestors)], [])
    except BaseException:
        if world.rank == 0:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    return place


def _together(world: World, first: list[Callable[[], None]], every: list[Callable[[], None]]) -> None:
    """Do ``every`` on every process and ``first`` on the first one; go on together, or fail together."""
    problem = None
    try:
        for work in [*every, *(first if world.rank == 0 else [])]:
            work()
    except OSError as error:
        problem = PileToolsError(f"{error.filename or 'checkpoint'}: {error.strerror or error}")
    world.agree(problem)


def _write_common(partial: Path, state: State) -> None:
    save_model(state.model, partial)
    save_tensors({"cpu": state.generator.get_state()}, partial / GENERATOR_NAME)
    layout = state.adam.layout() | {"loss_scale": state.loss_scale}
    contents = state.record.to_files() | {OPTIMIZER_NAME: canonical_json(layout)}
    for name, content in contents.items():
        (partial / name).write_bytes(content)


def _publish(
    partial: Path,
    place: Path,
    record: DataRecord,
    recipe: Mapping[str, Any],
    machine: Mapping[str, Any],
    ancestors: Ancestors,
) -> None:
    names = [*(path.name for path in partial.iterdir()), *ancestors.write(partial)]
    outputs = [file_entry(partial / name, name) for name in sorted(names)]
    Manifest(
        stage=STAGE,
        parameters={"recipe": dict(recipe), "machine": dict(machine)},
        inputs=[],
        outputs=outputs,
        counts={"steps": record.steps, "samples": record.samples, "tokens": record.tokens},
        parents=ancestors.parents,
        versions={"torch": version("torch")},
    ).write(partial)
    for entry in outputs:
        descriptor = os.open(partial / entry.name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    fsync_directory(partial)
    partial.rename(place)
    fsync_directory(place.parent)


def load_state(directory: Path, state: State) -> None:
    """Set model, optimizer, generator and loss scale of ``state`` to those of a checkpoint."""
    load_weights(state.model, directory)
    try:
        layout = read_layout(directory)
        state.loss_scale = [int(number) for number in layout.pop("loss_scale")]
        state.adam.load(directory, layout)
        with safe_open(directory / GENERATOR_NAME, framework="pt") as file:
            state.generator.set_state(file.get_tensor("cpu"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{directory}: cannot be resumed ({type(error).__name__}: {error})") from None
