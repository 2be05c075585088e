"""``pile-tools demo``."""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pile_tools.errors import MissingExtraError

from . import options
from .tables import print_table, print_text

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

SEQ_LENGTH = 512
BATCH_SIZE = 8
SEED = 1234
ORDER = "stdlib"
TRAINING: Final[dict[str, Any]] = {"model": "1m", "steps": 20, "schedule": "20", "keep_last": 1}
STOP_AT = 10
PHRASE = "import os"

T = TypeVar("T")


@options.command(example="pile-tools demo demo/")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--train/--no-train",
    "with_training",
    default=True,
    show_default=True,
    help="Whether to train a model of 1.3 million parameters for 20 steps, which needs the extra `train`.",
)
@options.workers_option
def command(directory: Path, with_training: bool, workers: int | None) -> None:
    """Run the whole pipeline on this Python's own standard library, into DIRECTORY.

    Makes a Pile-style corpus of the library's source files and a small tokenizer, then does what
    `dedup`, `tokenize`, `order` and `batch` do, and shows a row of one step. Then `train` begins to
    train a model on the stream, is interrupted, and resumed, and `verify` proves what its checkpoint
    has read. Run again, it finds everything done. DIRECTORY takes about 30 MB.
    """
    from pile_tools.stages.dedup import dedup
    from pile_tools.stages.dedup_job import resolve_job
    from pile_tools.stages.demo import TOKENIZER_NAME, demo_file, demo_steps, make_demo_corpus
    from pile_tools.stages.order import make_order
    from pile_tools.stages.tokenize import tokenize
    from pile_tools.viewer import BatchViewer

    corpus, kept, tokens = directory / "corpus", directory / "kept", directory / "tokens"
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], T]) -> T:
        click.echo(f"{stage} …", err=True)
        start = time.perf_counter()
        result = work()
        seconds[stage] = time.perf_counter() - start
        return result

    with options.progress_bar() as progress:
        timed("corpus", lambda: make_demo_corpus(corpus, progress=progress))
        deduped = timed(
            "dedup", lambda: dedup([corpus], kept, resolve_job(), workers=workers, progress=progress)
        )
        tokenized = timed(
            "tokenize",
            lambda: tokenize(
                [kept], tokens, tokenizer=str(corpus / TOKENIZER_NAME), workers=workers, progress=progress
            ),
        )
    steps = demo_steps(tokenized.counts["tokens"], SEQ_LENGTH, BATCH_SIZE)
    order = timed(
        "order",
        lambda: make_order(
            tokens, seq_length=SEQ_LENGTH, batch_size=BATCH_SIZE, steps=steps, seed=SEED, name=ORDER
        ),
    )
    # The order is named, so that the demo still works when its reader has made others.
    viewer = BatchViewer.open(tokens, order=ORDER)
    step, row = timed("batch", lambda: _boundary(viewer, steps // 2))

    trained = timed("train", lambda: _train(viewer, directory)) if with_training else None

    click.echo(f"\nStep {step}, row {row}: what the model reads there, and the file each part came from\n")
    for piece in viewer.pieces(step, row):
        name = demo_file(kept, piece.shard or "", piece.row or 0)
        click.echo(
            f"--- {name} (document {piece.document}, tokens {piece.offset} to {piece.last} "
            f"of {piece.document_tokens}, {piece.shard}:{piece.row})"
        )
        click.echo(_excerpt(piece.text or ""))
    click.echo()
    counts = deduped.counts
    print_table(
        ("what", "number"),
        [
            ("documents in", counts["documents"]),
            ("documents removed", counts["removed"]),
            ("documents kept", counts["kept"]),
            ("tokens", order.tokens),
            ("epochs", order.record.epochs),
            ("samples", order.record.samples),
            ("steps", order.record.steps),
            *((f"seconds for {stage}", round(value)) for stage, value in seconds.items()),
        ],
    )
    if trained is not None:
        click.echo()
        print_text(trained.message)
    document = next((piece.document for piece in viewer.pieces(step, row)), None)
    click.echo("\nTry next:")
    for arguments in _suggestions(
        directory, step, row, document, None if trained is None else trained.checkpoint
    ):
        click.echo(f"  pile-tools {shlex.join(arguments)}")


def _boundary(viewer: "BatchViewer", first: int) -> tuple[int, int]:
    """Return step and row of a sequence in which documents meet, the first from step ``first`` on."""
    rows = ((step, row) for step in range(first, viewer.steps) for row in range(viewer.batch_size))
    return next((pair for pair in rows if viewer.trace(*pair).num_rows > 1), (first, 0))


def _suggestions(
    directory: Path, step: int, row: int, document: int | None, checkpoint: Path | None
) -> list[list[str]]:
    """Return the arguments of commands that work on what the demo made, with the packages that are here."""
    stream = ["--data", str(directory / "tokens"), "--order", ORDER]
    where = ["--step", str(step), "--row", str(row)]
    suggestions = [
        ["batch", *stream, *where],
        ["trace", *stream, *where, "--text"],
        ["find", PHRASE, *stream, "--first"],
        ["seen", *stream, "--document", str(document)],
        ["mixture", *stream],
    ]
    if checkpoint is not None:
        # Half of these steps are among those that the checkpoint has read.
        around = f"{TRAINING['steps'] - 3}:{TRAINING['steps'] + 3}"
        suggestions.append(["loss", str(checkpoint), *stream, "--steps", around])
    again = ["dedup", str(directory / "corpus"), "-o", str(directory / "kept-0.7"), "--threshold", "0.7"]
    picture = ["--plot", str(directory / "kept-0.7.png")] if _can_draw() else []
    return [*suggestions, [*again, *picture]]


def _can_draw() -> bool:
    from pile_tools.formats.figures import check_figures

    try:
        check_figures()
    except MissingExtraError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Trained:
    """What to say of the training, and its checkpoint, None where it was left out."""

    message: str
    checkpoint: Path | None


def _train(viewer: "BatchViewer", directory: Path) -> _Trained:
    """Train for some steps, interrupted and resumed; prove what was read."""
    try:
        from pile_tools.train import plot_loss, train, verify_checkpoint
    except MissingExtraError as error:
        return _Trained(f"Training is left out: {error}", None)

    run, picture = directory / "run", directory / "loss.png"
    if not run.exists():
        train(viewer, run, stop_at=STOP_AT, **TRAINING)
    outcome = train(viewer, run, resume=True, **TRAINING)
    report = verify_checkpoint(outcome.checkpoint, [viewer])
    message = (
        f"{outcome.checkpoint}: {outcome.tokens:,} tokens, interrupted after {STOP_AT} steps and resumed; "
        f"verified: it has read {report.steps} steps, each as the stream has it."
    )
    if _can_draw():
        plot_loss(run, picture)
        message += f" The loss: {picture}"
    return _Trained(message, outcome.checkpoint)


def _excerpt(text: str, lines: int = 6) -> str:
    """The first and last lines of a long text, to be read on a terminal."""
    rows = text.split("\n")
    if len(rows) <= 2 * lines + 1:
        return text
    return "\n".join([*rows[:lines], f"    … {len(rows) - 2 * lines} lines …", *rows[-lines:]])
