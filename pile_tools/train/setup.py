"""What a run needs before its first step: its state, its layers made ready, and what to say of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from pile_tools.errors import UnsupportedError
from pile_tools.train.checkpoints import State, load_state
from pile_tools.train.hardware import DTYPES, peak_flops
from pile_tools.train.loss import LogitGradient, logit_gradient, logit_gradient_in_place
from pile_tools.train.model import GPTNeoX, flops_per_token, initialise
from pile_tools.train.optimizer import FlatAdam
from pile_tools.train.parallel import World
from pile_tools.train.recipe import build_model
from pile_tools.train.record import DataRecord

__all__ = ["COMPILE", "Start", "begin_state", "describe_start", "machine_settings", "prepare"]

# For the same bits each time: no kernel is chosen by timing it, and a shape has its own graph, whichever
# shapes came before it (a run that is resumed begins with others than one that is not).
COMPILE: Final[dict[str, Any]] = {"dynamic": False, "options": {"deterministic": True}}

# What is not given and not recorded; each can change the bits of a run, so a resumed one keeps its own.
_MACHINE: Final = {"micro_batch_size": 8, "compile": False, "activation_checkpointing": False}

# Exponent of float16's first loss scale. Gradients are sums over tokens here and divided later, so that a
# small scale serves.
_FIRST_SCALE: Final = 8


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of a run before its next step; ``peak_flops`` is that of all processes together."""

    steps_done: int
    steps: int
    parameters: int
    processes: int
    device: str
    flops_per_token: int
    peak_flops: float
    peak_origin: str


def machine_settings(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return micro_batch_size, compile and activation_checkpointing: what is ``given`` and not None, else
    what is ``recorded`` (by the checkpoint that is resumed), else the defaults."""
    known = {**_MACHINE, **{key: recorded[key] for key in _MACHINE if key in recorded}}
    return {key: value if given[key] is None else given[key] for key, value in known.items()}


def begin_state(
    begin: Path | None, record: DataRecord, recipe: Mapping[str, Any], dtype: str | None, world: World
) -> State:
    """Return the state after the checkpoint ``begin``, which computed in ``dtype``, or that of step 0."""
    generator = torch.Generator().manual_seed(recipe["seed"])
    model = build_model(recipe["model"])
    if begin is None:
        initialise(model, generator)
    model.to(world.device).train()
    scale = [_FIRST_SCALE if recipe["dtype"] == "float16" else 0, 0]
    state = State(model, FlatAdam(model, world), generator, record, scale)
    if begin is not None:
        load_state(begin, state)
        if dtype != recipe["dtype"]:
            state.loss_scale = scale  # a fork in another dtype
    return state


def prepare(model: GPTNeoX, compile_layers: bool, activation_checkpointing: bool) -> LogitGradient:
    """Set up the model's layers; return the function for its logits."""
    model.gpt_neox.recompute = activation_checkpointing
    if not compile_layers:
        return logit_gradient_in_place
    from torch._inductor import list_options

    if "deterministic" not in list_options():
        raise UnsupportedError(
            f"the compiler of PyTorch {torch.__version__} cannot be held to the same bits; "
            "leave --compile out, or install PyTorch 2.13"
        )
    for layer in model.gpt_neox.layers:
        layer.compile(**COMPILE)  # one graph serves all layers
    compiled: LogitGradient = torch.compile(logit_gradient, **COMPILE)
    return compiled


def describe_start(
    state: State, recipe: Mapping[str, Any], seq_length: int, device: str, world: World
) -> Start:
    """Return what is to be said of a run, before its next step, of sequences of ``seq_length``."""
    peak, origin = peak_flops(world, DTYPES[recipe["dtype"]])
    return Start(
        steps_done=state.record.steps,
        steps=recipe["steps"],
        parameters=sum(parameter.numel() for parameter in state.model.parameters()),
        processes=world.size,
        device=device,
        flops_per_token=flops_per_token(state.model, seq_length),
        peak_flops=peak,
        peak_origin=origin,
    )
