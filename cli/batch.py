"""``pile-tools batch``."""

import io
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import numpy as np
import orjson

from pile_tools.errors import ParameterError
from pile_tools.formats.atomic import atomic_write

from . import options
from .streams import open_viewer, stream_options

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer, PieceView

FORMATS = ("text", "tokens", "json", "npy")


@options.command(example="pile-tools batch --data tokens/ --step 3 --row 1")
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
    type=options.OutputFile(),
    default=None,
    show_default="standard output",
    help="File to write; one that exists is not replaced.",
)
@stream_options
@options.json_option
def command(
    step: int, row: int | None, form: str | None, output: Path | None, as_json: bool, **stream: Any
) -> None:
    """Show the sequences that one step of training reads.

    Step k is the batch that takes the model from checkpoint k to checkpoint k + 1.
    """
    if as_json and form not in (None, "json"):
        raise ParameterError(f"--json and --format {form} contradict each other; give one of them")
    form = "json" if as_json else form or "text"
    viewer = open_viewer(**stream)
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


def _lines(viewer: "BatchViewer", step: int, row: int | None, form: str) -> Iterator[bytes]:
    """Yield the output piece by piece."""
    if form in ("npy", "tokens"):
        tokens: Any = viewer.batch(step) if row is None else viewer.sequence(step, row)
        if form == "npy":
            buffer = io.BytesIO()
            np.save(buffer, tokens, allow_pickle=False)
            yield buffer.getvalue()
        else:
            for sequence in np.atleast_2d(tokens).tolist():
                yield (" ".join(map(str, sequence)) + "\n").encode()
        return
    # One JSON value in all: an array where there may be several rows.
    before, between, after = (b"[\n", b",\n", b"\n]\n") if row is None else (b"", b"", b"\n")
    for found in viewer.rows(step, row):
        if form == "json":
            value: dict[str, Any] = {"step": step, "row": found.row, "tokens": found.tokens.tolist()}
            value |= options.unproved()
            if found.text is not None:
                value["text"] = found.text
            value["pieces"] = [asdict(piece) for piece in found.pieces]
            yield (between if found.row and row is None else before) + orjson.dumps(value)
        else:
            yield f"=== step {step}, row {found.row}: {len(found.tokens)} tokens\n".encode()
            for piece in found.pieces:
                yield f"--- {_heading(piece)}\n{piece.text}\n".encode()
    if form == "json":
        yield after


def _heading(piece: "PieceView") -> str:
    if piece.document is None:
        return f"{piece.n_tokens} tokens; where documents begin and end is not known"
    place = f"document {piece.document}, tokens {piece.offset} to {piece.last} of {piece.document_tokens}"
    if piece.dataset is not None:
        place = f"dataset {piece.dataset}, {place}"
    marks = [mark for mark, holds in (("begins", piece.is_begin), ("ends", piece.is_end)) if holds]
    if marks:
        place += f" ({' and '.join(marks)} here)"
    if piece.shard is not None:
        place += f", from {options.address(piece.shard, piece.row)}"
    return place if piece.source is None else f"{place}, source {piece.source}"
