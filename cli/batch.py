"""``pile-tools batch``."""

import io
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
import orjson

from pile_tools.errors import ParameterError
from pile_tools.formats.atomic import atomic_write
from pile_tools.viewer import BatchViewer, PieceView

from . import options

FORMATS = ("text", "tokens", "json", "npy")


@options.command(example="pile-tools batch --data tokens/ --step 3 --row 1")
@options.data_option
@click.option("--step", type=int, required=True, help="Step of training, from 0.")
@click.option("--row", type=int, default=None, show_default="all", help="One sequence of the step, from 0.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=None,
    show_default="text",
    help="text: documents marked; tokens: a line of ids for each row; json: an object for one row, "
    "an array of them for a step; npy: one array.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    show_default="standard output",
    help="File to write.",
)
@options.order_option
@options.batch_size_option
@options.tokenizer_option
@options.json_option
def command(
    data: str,
    step: int,
    row: int | None,
    form: str | None,
    output: Path | None,
    order: str | None,
    batch_size: int | None,
    tokenizer: str | None,
    as_json: bool,
) -> None:
    """Show the sequences that one step of training reads.

    Step k is the batch that takes the model from checkpoint k to checkpoint k + 1.
    """
    viewer = BatchViewer.open(data, order=order, batch_size=batch_size, tokenizer=tokenizer)
    if as_json and form not in (None, "json"):
        raise ParameterError(f"--json and --format {form} contradict each other; give one of them")
    form = "json" if as_json else form or "text"
    if form == "text" and not viewer.has_tokenizer:
        raise ParameterError(
            f"{viewer.order.name}: no tokenizer beside the dataset to show text with; give one with "
            "--tokenizer, or choose --format tokens"
        )
    lines = _lines(viewer, step, row, form)
    first = next(lines)  # an error comes before anything is written
    if output is not None:
        with atomic_write(output) as file:
            _write(file, first, lines)
        return
    if form == "npy" and sys.stdout.isatty():
        raise ParameterError("--format npy writes bytes; name a file with -o, or send them to one")
    _write(sys.stdout.buffer, first, lines)
    sys.stdout.buffer.flush()


def _write(file: BinaryIO, first: bytes, lines: Iterator[bytes]) -> None:
    file.write(first)
    file.writelines(lines)


def _lines(viewer: BatchViewer, step: int, row: int | None, form: str) -> Iterator[bytes]:
    """Yield the output piece by piece."""
    tokens: Any = viewer.batch(step) if row is None else viewer.sequence(step, row)
    if form == "npy":
        buffer = io.BytesIO()
        np.save(buffer, tokens, allow_pickle=False)
        yield buffer.getvalue()
        return
    rows = list(enumerate(tokens)) if row is None else [(row, tokens)]
    # One JSON value in all: an array where there may be several rows.
    before, between, after = (b"[\n", b",\n", b"\n]\n") if row is None else (b"", b"", b"\n")
    for number, sequence in rows:
        if form == "tokens":
            yield (" ".join(map(str, sequence.tolist())) + "\n").encode()
            continue
        pieces = viewer.pieces(step, number)
        if form == "json":
            value: dict[str, Any] = {"step": step, "row": number, "tokens": sequence.tolist()}
            if viewer.has_tokenizer:
                value["text"] = viewer.text(step, number)
            value["pieces"] = [asdict(piece) for piece in pieces]
            yield (between if number and row is None else before) + orjson.dumps(value)
        else:
            yield f"=== step {step}, row {number}: {len(sequence)} tokens\n".encode()
            for piece in pieces:
                yield f"--- {_heading(piece)}\n{piece.text}\n".encode()
    if form == "json":
        yield after


def _heading(piece: PieceView) -> str:
    place = f"document {piece.document}, tokens {piece.offset} to {piece.last} of {piece.document_tokens}"
    marks = [mark for mark, holds in (("begins", piece.is_begin), ("ends", piece.is_end)) if holds]
    if marks:
        place += f" ({' and '.join(marks)} here)"
    if piece.shard is not None:
        place += f", from {piece.shard}:{piece.row}"
    return place if piece.source is None else f"{place}, source {piece.source}"
