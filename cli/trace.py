"""``pile-tools trace``."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from . import options
from .tables import print_table

if TYPE_CHECKING:
    from pile_tools.stages.trace import TracedPiece


@options.command(example="pile-tools trace --data tokens/ --step 3 --row 1 --text")
@options.data_option
@click.option("--step", type=int, required=True, help="Step of training, from 0.")
@click.option("--row", type=int, required=True, help="Sequence of the step, from 0.")
@click.option("--text", "with_text", is_flag=True, help="Show the text of each piece in its source.")
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=80,
    show_default=True,
    help="Characters to show before and after a piece.",
)
@click.option(
    "--corpus",
    multiple=True,
    metavar="PATH",
    show_default="where it lay when it was tokenized",
    help="The corpus that was tokenized: a file, directory or pattern; may be repeated.",
)
@options.order_option
@options.batch_size_option
@options.tokenizer_option
@options.json_option
def command(
    data: str,
    step: int,
    row: int,
    with_text: bool,
    context: int,
    corpus: tuple[str, ...],
    order: str | None,
    batch_size: int | None,
    tokenizer: str | None,
    as_json: bool,
) -> None:
    """Show which documents a sequence is made of, and where each of them came from.

    position is where a piece begins in the sequence, offset where that is in its document. Where the
    corpus had been deduplicated, the address in the corpus before that is shown too. With --text,
    the piece is read in the source itself and set between ⟦ and ⟧.
    """
    from pile_tools.stages.trace import trace_pieces
    from pile_tools.viewer import BatchViewer

    viewer = BatchViewer.open(data, order=order, batch_size=batch_size, tokenizer=tokenizer)
    pieces = trace_pieces(
        viewer.parts,
        viewer.trace(step, row),
        viewer.sequence(step, row),
        context=context if with_text else None,
        corpora=corpus,
        tokenizer=tokenizer,
    )
    if as_json:
        options.print_json({"step": step, "row": row, "pieces": [_as_json(piece) for piece in pieces]})
        return
    followed = any(piece.original for piece in pieces)
    header = ("position", "tokens", "document", "offset", "source", "row", "shard")
    rows = []
    for piece in pieces:
        own = (
            piece.position,
            piece.n_tokens,
            piece.document,
            piece.offset,
            piece.source,
            piece.row,
            piece.shard,
        )
        original = (piece.original.row, piece.original.shard) if piece.original else (None, None)
        rows.append(own + original * followed)
    print_table(header + ("original row", "original shard") * followed, rows)
    for piece in pieces:
        if piece.span is not None:
            click.echo(
                f"\n--- document {piece.document} from its token {piece.offset}, "
                f"{options.address(piece.shard, piece.row)}"
            )
            click.echo(f"{piece.span.before}⟦{piece.span.text}⟧{piece.span.after}")


def _as_json(piece: "TracedPiece") -> dict[str, Any]:
    value = asdict(piece)
    if piece.span is None:
        del value["span"]
    first = piece.addresses[-1] if piece.addresses else None
    return value | {
        "original_shard": first.shard if first else piece.shard,
        "original_row": first.row if first else piece.row,
    }
