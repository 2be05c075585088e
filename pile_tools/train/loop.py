"""The training loop, from top to bottom: begin, read, accumulate, check, update, record, save.

Which samples a step reads is a function of the step alone: the loop holds no iterator over data, and a
checkpoint needs none. All else that a step depends on is in the checkpoint before it, so that a run that was
interrupted and resumed has the same bits as one that was not.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.train.ancestors import Ancestors
from pile_tools.train.checkpoints import State
from pile_tools.train.hardware import DTYPES, describe, deterministic, to_device
from pile_tools.train.loss import LogitGradient, loss_and_gradient
from pile_tools.train.metrics import MetricsFile
from pile_tools.train.model import GPTNeoX
from pile_tools.train.parallel import World, join, micro_batches
from pile_tools.train.recipe import resolve
from pile_tools.train.record import DataRecord, Stream, step_digest
from pile_tools.train.run import Run, newest_checkpoint, read_begin
from pile_tools.train.schedule import checkpoint_due
from pile_tools.train.schedule import learning_rate as rate_at
from pile_tools.train.setup import Start, begin_state, describe_start, machine_settings, prepare

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = ["Outcome", "train"]

# Steps without an overflow after which float16's loss scale doubles, and the largest exponent it reaches.
_SCALE_WINDOW: Final = 200
_LAST_SCALE: Final = 24


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: after ``steps_done`` of ``steps``, with the checkpoint of that step.

    ``tokens`` were read in all; ``loss`` is that of the last step made here, None where none was.
    """

    checkpoint: Path
    steps_done: int
    steps: int
    tokens: int
    loss: float | None
    interrupted: bool


def train(
    viewer: "BatchViewer",
    output: str | os.PathLike[str],
    *,
    model: str | None = None,
    steps: int | None = None,
    micro_batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: str | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    stop_at: int | None = None,
    keep_last: int | None = None,
    resume: bool = False,
    source: str | os.PathLike[str] | None = None,
    device: str = "auto",
    compile_layers: bool | None = None,
    activation_checkpointing: bool | None = None,
    on_start: Callable[[Start], None] = lambda start: None,
    on_step: Callable[[Mapping[str, Any]], None] = lambda metrics: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train ``model`` on the stream of ``viewer``; write checkpoints and metrics into ``output``.

    ``model`` is a size or a config (``recipe.model_shape``); ``steps`` the length of the whole schedule
    (default: the stream's); ``viewer.batch_size`` sequences make a step, ``micro_batch_size`` of them (8)
    are computed at a time. ``resume`` goes on with the newest checkpoint in ``output``; what is not given is
    then as it was there, so that the bits are. ``source`` begins with a checkpoint of another run, on any
    stream, and takes what is not given of its recipe, but not of how it was computed. ``stop_at`` ends
    after so many steps, and ``should_stop`` is asked before each micro-batch: both leave a checkpoint to
    resume from. ``keep_last`` removes all checkpoints of ``output`` but so many of the newest, each time that
    one has been written (default: none is removed). Under ``torchrun`` each process calls this, and only the
    first is called back.

    Raises DataError for a stream that is not the one that a run began with, PileToolsError for a loss that is
    not finite, UnfinishedError where a checkpoint could not be written; those before it stay as they are.
    """
    if resume and source is not None:
        raise ParameterError(
            "--from begins a run and --resume goes on with one; to resume a fork leave --from out"
        )
    if (micro_batch_size is not None and micro_batch_size < 1) or (stop_at is not None and stop_at < 0):
        raise ParameterError(f"micro_batch_size {micro_batch_size} or stop_at {stop_at} is too small")
    if keep_last is not None and keep_last < 1:
        raise ParameterError(f"keep_last {keep_last} must be at least 1")
    with join(device) as world, ExitStack() as stack:
        stack.enter_context(deterministic(world.device))
        output, fork = Path(output), source is not None
        begin = newest_checkpoint(output) if resume else None if source is None else Path(source)
        record, recorded, machine_before = read_begin(Stream.of(viewer), begin, fork=fork)
        given = {"steps": steps, "learning_rate": learning_rate, "schedule": schedule, "seed": seed}
        given |= {"dtype": dtype}
        recipe = resolve(viewer, model, given, recorded, begin=begin, done=record.steps, fork=fork)
        if record.steps > recipe["steps"]:
            raise ParameterError(f"{begin}: {record.steps} steps are done, of {recipe['steps']} asked for")
        given = {"micro_batch_size": micro_batch_size, "compile": compile_layers}
        given |= {"activation_checkpointing": activation_checkpointing}
        settings = machine_settings(given, machine_before)
        machine = describe(world, settings)
        ancestors = Ancestors.of(viewer, begin, fork=fork)
        run = Run(
            stack, output, record, recipe, machine, ancestors, world, resume=resume, keep_last=keep_last
        )
        if run.finished:
            record = DataRecord.read(output / f"step{recipe['steps']}")
            return _outcome(run, record, recipe, None, interrupted=False)
        state = begin_state(begin, record, recipe, None if recorded is None else recorded["dtype"], world)
        of_logits = prepare(state.model, settings["compile"], settings["activation_checkpointing"])
        start = describe_start(state, recipe, viewer.seq_length, str(machine["device"]), world)
        metrics = None
        if world.rank == 0:
            on_start(start)
            metrics = MetricsFile(output, record.steps)
            stack.callback(metrics.close)
        if not run.has(record.steps):
            run.save(state)
        last = min(recipe["steps"], recipe["steps"] if stop_at is None else stop_at)
        due, loss, interrupted = checkpoint_due(recipe["schedule"]), None, False
        micro = settings["micro_batch_size"]
        for line in _steps(state, viewer, last, recipe, micro, of_logits, run, should_stop):
            if line is None:
                interrupted = True
                break
            loss = line["loss"]
            line["peak_share"] = line["tokens_per_second"] * start.flops_per_token / start.peak_flops
            if metrics is not None:
                metrics.write(line)
                on_step(line)
            if due(state.record.steps):
                run.save(state)
        if not run.has(state.record.steps):
            run.save(state)
        if state.record.steps == recipe["steps"]:
            run.finish(state.record)
        return _outcome(run, state.record, recipe, loss, interrupted=interrupted)


def _outcome(
    run: Run, record: DataRecord, recipe: Mapping[str, Any], loss: float | None, *, interrupted: bool
) -> Outcome:
    place = run.directory / f"step{record.steps}"
    return Outcome(place, record.steps, recipe["steps"], record.tokens, loss, interrupted)


def _steps(
    state: State,
    viewer: "BatchViewer",
    last: int,
    recipe: Mapping[str, Any],
    micro_batch_size: int,
    of_logits: LogitGradient,
    run: Run,
    should_stop: Callable[[], bool],
) -> Iterator[dict[str, Any] | None]:
    """Make the steps up to ``last``; yield the metrics of each, or None when asked to stop before its end."""
    world, dtype = run.world, recipe["dtype"]
    parts = micro_batches(viewer.batch_size, micro_batch_size, world.rank, world.size)
    tokens = viewer.batch_size * viewer.seq_length
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[npt.NDArray[Any]] | None = None
        for step in range(state.record.steps, last):
            start = time.perf_counter()
            # Every process reads the whole batch, 4 MB of Pythia's, so that each can tell what it is.
            batch = (ahead or pool.submit(viewer.batch, step)).result()  # [batch_size, t + 1]
            ahead = pool.submit(viewer.batch, step + 1) if step + 1 < last else None
            waited = time.perf_counter() - start
            _check_tokens(batch, state.model, viewer, step)
            digest = step_digest(batch)
            total = _accumulate(state, batch, parts, DTYPES[dtype], world, of_logits, should_stop)
            rows = world.table([total, float(should_stop()), *np.frombuffer(digest, "<u4").tolist()])
            if any(row[2:] != rows[0][2:] for row in rows):
                raise DataError(f"{viewer.order.name}: processes have read different bytes for step {step}")
            if any(row[1] for row in rows):
                yield None
                return
            loss = sum(row[0] for row in rows) / tokens
            norm = state.adam.norm(tokens * 2.0 ** state.loss_scale[0])
            _check_finite(loss, norm, dtype, step, run)
            rate = rate_at(step, recipe["steps"], float(recipe["learning_rate"]))
            line: dict[str, Any] = {"step": step, "tokens": state.record.tokens + tokens, "loss": loss}
            line |= {"lr": rate, "grad_norm": norm if math.isfinite(norm) else None}
            if dtype == "float16":
                line |= {"loss_scale": 2 ** state.loss_scale[0], "skipped": not math.isfinite(norm)}
                _adjust_scale(state, norm, step, run)
            if math.isfinite(norm):
                state.adam.update(rate)
            state.record = state.record.consume(digest)
            seconds = time.perf_counter() - start
            yield line | {"tokens_per_second": tokens / seconds, "data_share": waited / seconds}


def _accumulate(
    state: State,
    batch: npt.NDArray[Any],
    parts: list[slice],
    dtype: torch.dtype,
    world: World,
    of_logits: LogitGradient,
    should_stop: Callable[[], bool],
) -> float:
    """Add up this process's gradients of a batch, not divided by its tokens; return its sum of losses."""
    state.adam.gradients.zero_()
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    output, scale = state.model.embed_out.weight, 2.0 ** state.loss_scale[0]
    for part in parts:
        if should_stop():
            break
        rows = to_device(batch[part], world.device)  # [m, t + 1]
        hidden = state.model.hidden(rows[:, :-1], dtype).flatten(0, 1)  # [m · t, w]
        loss, gradient = loss_and_gradient(hidden.detach(), output, rows[:, 1:].flatten(), scale, of_logits)
        torch.autograd.backward(hidden, gradient)
        total += loss
    return total.item()  # the one place where the step waits for a GPU


def _check_tokens(batch: npt.NDArray[Any], model: GPTNeoX, viewer: "BatchViewer", step: int) -> None:
    largest = int(batch.max())
    if largest >= model.vocab:
        raise DataError(
            f"{viewer.order.name}: step {step} has token {largest}, "
            f"but the model's vocabulary is {model.vocab}; name a model with a larger one"
        )


def _check_finite(loss: float, norm: float, dtype: str, step: int, run: Run) -> None:
    """Stop before the update where the loss or, outside float16, the gradient is not a number."""
    if not math.isfinite(loss) or (not math.isfinite(norm) and dtype != "float16"):
        what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
        raise PileToolsError(
            f"{run.directory}: step {step}: the {what}, so training stops; {run.last_checkpoint()}: "
            "look at the batch, or fork from a checkpoint (--from) with a lower --lr"
        )


def _adjust_scale(state: State, norm: float, step: int, run: Run) -> None:
    """Halve the loss scale where a gradient overflowed; double it after a while without."""
    exponent, age = state.loss_scale
    if not math.isfinite(norm):
        if exponent == 0:
            raise PileToolsError(
                f"{run.directory}: step {step}: the gradient overflows float16 without any loss scale; "
                f"{run.last_checkpoint()}: fork from it (--from) with --dtype bfloat16 or float32"
            )
        state.loss_scale = [exponent - 1, 0]
    elif age + 1 >= _SCALE_WINDOW and exponent < _LAST_SCALE:
        state.loss_scale = [exponent + 1, 0]
    else:
        state.loss_scale = [exponent, age + 1]
