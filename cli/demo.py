"""``pile-tools demo``."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from . import options

SEQ_LENGTH = 2048
BATCH_SIZE = 8
SEED = 1234
TRAINING = {"model": "14m", "steps": 20, "schedule": "0", "micro_batch_size": 1}
TRAINING_BATCH_SIZE = 1
STOP_AT = 10

T = TypeVar("T")


@options.command(example="pile-tools demo demo/")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--train/--no-train",
    "with_training",
    default=True,
    show_default=True,
    help="Whether to train Pythia's smallest model for 20 steps, which needs the extra `train`.",
)
@options.workers_option
def command(directory: Path, with_training: bool, workers: int | None) -> None:
    """Run the whole pipeline on this Python's own standard library, into DIRECTORY.

    Makes a Pile-style corpus of the library's source files and a small tokenizer, then does what
    `dedup`, `tokenize`, `order` and `batch` do, and shows a row of one step. Then `train` begins to
    train a model on the stream, is interrupted, and resumed, and `verify` proves what its checkpoint
    has read. Run again, it finds everything done.
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
        lambda: make_order(tokens, seq_length=SEQ_LENGTH, batch_size=BATCH_SIZE, steps=steps, seed=SEED),
    )
    step = steps // 2
    # The order is named, so that the demo still works when its reader has made others.
    viewer = BatchViewer.open(tokens, order=order.record.label)
    timed("batch", lambda: viewer.batch(step))
    row = max(range(BATCH_SIZE), key=lambda row: viewer.trace(step, row).num_rows)

    trained = timed("train", lambda: _train(tokens, order.record.label, directory)) if with_training else ()

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
    options.print_table(
        ("what", "number"),
        [
            ("documents in", f"{counts['documents']:,}"),
            ("documents removed", f"{counts['removed']:,}"),
            ("documents kept", f"{counts['kept']:,}"),
            ("tokens", f"{order.tokens:,}"),
            ("epochs", f"{order.record.epochs:,}"),
            ("samples", f"{order.record.samples:,}"),
            ("steps", f"{order.record.steps:,}"),
            *((f"seconds for {stage}", f"{value:.1f}") for stage, value in seconds.items()),
        ],
    )
    for line in trained:
        click.echo(line)
    ours = f"--data {tokens} --order {order.record.label}"
    click.echo(
        "\nTry next:\n"
        f"  pile-tools batch {ours} --step {step} --row {row}\n"
        f"  pile-tools batch {ours} --step 0 --format npy -o step0.npy\n"
        f"  pile-tools trace {ours} --step {step} --row {row} --text\n"
        f"  pile-tools dedup {corpus} -o kept-070 --threshold 0.7\n"
        f"  pile-tools order {tokens} --seq-length 512 --batch-size 16 --steps 100 -o {directory / 'short'}\n"
        f"  pile-tools batch --data {tokens} --order {directory / 'short'} --step 7 --row 0"
    )


def _train(tokens: Path, order: str, directory: Path) -> list[str]:
    """Train for some steps, interrupted and resumed; prove what was read; say what was done."""
    missing = [
        name for name in ("torch", "safetensors", "matplotlib") if importlib.util.find_spec(name) is None
    ]
    if missing:
        return [f"\nTraining is left out: {', '.join(missing)} is missing (install pile-tools[train,plot])."]
    from pile_tools.train import plot_loss, train, verify_checkpoint
    from pile_tools.viewer import BatchViewer

    run, picture = directory / "run", directory / "loss.png"
    viewer = BatchViewer.open(tokens, order=order, batch_size=TRAINING_BATCH_SIZE)
    settings: dict[str, Any] = dict(TRAINING)
    if not run.exists():
        train(viewer, run, stop_at=STOP_AT, **settings)
    outcome = train(viewer, run, resume=True, **settings)
    report = verify_checkpoint(outcome.checkpoint, [viewer])
    plot_loss(run, picture)
    return [
        f"\n{outcome.checkpoint}: {outcome.tokens:,} tokens, interrupted after {STOP_AT} steps and resumed; "
        f"verified: it has read {report.steps} steps, each as the stream has it. The loss: {picture}"
    ]


def _excerpt(text: str, lines: int = 6) -> str:
    """The first and last lines of a long text, to be read on a terminal."""
    rows = text.split("\n")
    if len(rows) <= 2 * lines + 1:
        return text
    return "\n".join([*rows[:lines], f"    … {len(rows) - 2 * lines} lines …", *rows[-lines:]])
