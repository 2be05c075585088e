"""``pile-tools train``."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pile_tools.errors import UnfinishedError

from . import options, streams

if TYPE_CHECKING:
    from pile_tools.train import Outcome, Start
    from pile_tools.viewer import BatchViewer


@options.command(
    example="pile-tools train --data tokens/ --model 14m --steps 200 --batch-size 32 -o RUN; "
    "in two processes: torchrun --nproc-per-node 2 --no-python pile-tools train …"
)
@options.data_option
@streams.suite_option
@options.order_option
@options.batch_size_option
@streams.io_option
@streams.cache_option
@streams.cache_bytes_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory of the run.",
)
@click.option(
    "--model",
    default=None,
    metavar="SIZE|CONFIG",
    show_default="that of the checkpoint, with --resume and --from",
    help="A size of Pythia (14m, 31m, 70m, 160m, 410m, 1b, 1.4b, 2.8b, 6.9b, 12b), the demo's 1m "
    "(of 8,192 tokens) or a GPT-NeoX config.json.",
)
@click.option(
    "--steps",
    type=int,
    default=None,
    show_default="the stream's",
    help="Length of the whole schedule, in steps.",
)
@click.option(
    "--micro-batch-size",
    type=int,
    default=None,
    show_default="8; the checkpoint's, with --resume",
    help="Sequences that each process computes at a time; it changes no batch.",
)
@click.option(
    "--lr", "learning_rate", type=float, default=None, show_default="the size's", help="Peak learning rate."
)
@click.option("--seed", type=int, default=None, show_default="1234", help="Seed of the initial weights.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default=None,
    show_default="float32",
    help="What the model computes in; weights and optimizer are float32.",
)
@click.option(
    "--schedule",
    default=None,
    show_default="0,1,2,4,8,16,32,64,128,256,512,every 1000",
    help="Numbers of steps after which a checkpoint is written; the last always has one.",
)
@click.option(
    "--keep-last",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    show_default="all",
    help="Keep the last N checkpoints of the run only; older ones are removed when the next is written.",
)
@click.option("--stop-at", type=int, default=None, help="End after this number of steps, to be resumed.")
@click.option("--resume", is_flag=True, help="Go on with the newest checkpoint of the run.")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="RUN/stepN",
    help="Fork: begin with this checkpoint, on the stream of --data.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where to train.",
)
@click.option(
    "--compile/--no-compile",
    "compile_layers",
    default=None,
    show_default="no; as the checkpoint, with --resume",
    help="Compile the layers (torch.compile).",
)
@click.option(
    "--activation-checkpointing/--no-activation-checkpointing",
    default=None,
    show_default="no; as the checkpoint, with --resume",
    help="Compute activations again instead of keeping them.",
)
@options.plot_option
@options.json_option
def command(
    data: str,
    suite: str | None,
    order: str | None,
    batch_size: int | None,
    io: str,
    cache: Path | None,
    cache_bytes: int,
    output: Path,
    resume: bool,
    source: Path | None,
    plot: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a GPT-NeoX model with Pythia's recipe; each checkpoint proves which steps it has read.

    Writes RUN/stepN, directories that transformers opens, and a line for each step into RUN/metrics.jsonl.
    Ctrl-C, a termination signal and --stop-at leave a checkpoint, and --resume goes on from it to the same
    bits as if nothing had happened: at its batch size and micro-batch size, compiled or not as it was,
    unless given. A fork (--from) takes the batch size of
    its own stream, and where that is not the checkpoint's it has to be given.
    """
    from pile_tools.train import check_fork_batch_size, plot_loss, recorded_batch_size, train

    told = batch_size is not None
    if resume and not told:
        batch_size = recorded_batch_size(output)
    viewer = streams.open_viewer(
        data=data,
        suite=suite,
        order=order,
        batch_size=batch_size,
        tokenizer=None,
        io=io,
        cache=cache,
        cache_bytes=cache_bytes,
    )
    if source is not None and not told:
        check_fork_batch_size(source, viewer)
    first = os.environ.get("RANK", "0") == "0"  # set by torchrun
    changed: dict[str, int] = {}
    with _stop_signals() as should_stop, _progress_bar() as (show_start, on_step):

        def on_start(start: "Start") -> None:
            if source is not None and viewer.is_counterfactual:
                changed["changed_sequences"] = _say_changed(viewer, start.steps_done, start.steps)
            show_start(start)

        outcome = train(
            viewer,
            output,
            resume=resume,
            source=source,
            on_start=on_start,
            on_step=on_step,
            should_stop=should_stop,
            **settings,
        )
    if first:
        if plot is not None:
            plot_loss(output, plot)
        _report(outcome, changed, as_json=as_json)
    if outcome.interrupted:
        raise click.Abort
    if outcome.steps_done < outcome.steps:
        raise UnfinishedError(f"{output}: stopped as asked by --stop-at; go on with --resume")


def _say_changed(viewer: "BatchViewer", start: int, stop: int) -> int:
    """Say how many sequences of the steps of a fork a counterfactual stream changes, and return it."""
    with options.progress_bar() as progress:
        count = viewer.changed_sequences(start, stop, progress=progress)
    total = (stop - start) * viewer.batch_size
    said = f"{count:,} of {total:,} sequences of steps {start}:{stop} are changed"
    if not count:
        said = (
            f"none of the {total:,} sequences of steps {start}:{stop} is changed, so the fork reads what it "
            "would have read without the change"
        )
    click.echo(f"{viewer.name}: {said}", err=True)
    return count


def _report(outcome: "Outcome", changed: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        options.print_json({**asdict(outcome), **changed, "checkpoint": str(outcome.checkpoint)})
        return
    loss = "" if outcome.loss is None else f", loss {outcome.loss:.4f}"
    done = f"{outcome.steps_done} of {outcome.steps} steps"
    click.echo(f"{outcome.checkpoint}: {done}, {outcome.tokens:,} tokens{loss}")
    if outcome.interrupted:
        click.echo("go on with --resume", err=True)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether to stop; a second Ctrl-C ends at once.

    A signal that this process was started to ignore, as by `nohup`, stays ignored.
    """
    stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        # Under torchrun a process gets a second signal at once, from torchrun itself.
        if stopping and number == signal.SIGINT and "RANK" not in os.environ:
            raise KeyboardInterrupt
        stopping = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    answered = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in answered:
        signal.signal(number, handle)
    try:
        yield lambda: stopping
    finally:
        for number in answered:
            signal.signal(number, before[number])


@contextmanager
def _progress_bar() -> Iterator[tuple[Callable[["Start"], None], Callable[[Mapping[str, Any]], None]]]:
    """Give what shows the start and the steps of a run on standard error; a bar on a terminal only."""
    bar: Any = None

    def on_start(start: "Start") -> None:
        nonlocal bar
        click.echo(
            f"{start.parameters:,} parameters, {start.flops_per_token:,} FLOPs per token; "
            f"{start.processes} × {start.device}, peak {start.peak_flops:.3g} FLOP/s ({start.peak_origin}); "
            f"step {start.steps_done} of {start.steps}",
            err=True,
        )
        if sys.stderr.isatty():
            from tqdm import tqdm

            bar = tqdm(
                total=start.steps, initial=start.steps_done, unit="step", file=sys.stderr, disable=False
            )

    def on_step(metrics: Mapping[str, Any]) -> None:
        if bar is not None:
            bar.set_postfix_str(
                f"loss {metrics['loss']:.3f}, {metrics['tokens_per_second']:,.0f} tokens/s", refresh=False
            )
            bar.update()

    try:
        yield on_start, on_step
    finally:
        if bar is not None:
            bar.close()
