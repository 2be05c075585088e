"""Options that the commands which ask a model share."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from . import options

F = TypeVar("F", bound=Callable[..., Any])


class StepRange(click.ParamType):  # type: ignore[type-arg] # generic only in new releases
    """``a:b``, steps a to b − 1."""

    name = "a:b"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+):(\d+)", value) if isinstance(value, str) else None
        if match is None:
            self.fail(f"{value!r} is not a range of steps a:b (a to b - 1)", param, ctx)
        return int(match[1]), int(match[2])


steps_option = click.option(
    "--steps", type=StepRange(), required=True, metavar="A:B", help="Steps A to B - 1 of the stream."
)

checkpoint_steps_option = click.option(
    "--checkpoint-steps",
    type=click.IntRange(min=0),
    default=None,
    show_default="as the checkpoint records, or stepN in its name",
    help="How many steps the model has read.",
)

_MODEL_OPTIONS = (
    click.option("--revision", default=None, metavar="REVISION", help="Of a Hub model: step512, main, …"),
    click.option(
        "--model-batch-size",
        type=click.IntRange(min=1),
        default=None,
        show_default="64 sequences, 8 for losses",
        help="Sequences that the model reads at a time.",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|cuda:N",
        help="Where to compute.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        default="float32",
        show_default=True,
        help="What the model computes in.",
    ),
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes, each with its own copy of the model; they share the cores, and the GPUs in turn.",
)


def model_options(function: F) -> F:
    """Add the options that say how a model is opened and asked."""
    for option in reversed(_MODEL_OPTIONS):
        function = option(function)
    return function


def stream_options(function: F) -> F:
    """Add the options that name a stream."""
    for option in (options.batch_size_option, options.order_option, options.data_option):
        function = option(function)
    return function
