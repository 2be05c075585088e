"""``pile-tools tokenize``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from . import options
from .tables import LARGEST, fold_rows, print_table


@options.command(example="pile-tools tokenize kept/ -o tokens/ --tokenizer EleutherAI/gpt-neox-20b")
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@options.output_directory_option
@click.option(
    "--tokenizer", required=True, metavar="FILE|HUB_ID", help="A tokenizer.json, or an id on the Hub."
)
@click.option(
    "--eod-token", default="<|endoftext|>", show_default=True, help="The token put after each document."
)
@click.option(
    "--append-eod/--no-append-eod", default=True, show_default=True, help="Whether to put it there."
)
@click.option(
    "--skip-empty",
    is_flag=True,
    help="Pass over documents whose text is empty, as GPT-NeoX's preprocessing does.",
)
@click.option(
    "--shard-bytes",
    metavar="BYTES",
    help="Cut the data into shards of this many bytes (30e9, say).",
)
@click.option("--text-field", default="text", show_default=True, help="Where a record has its text.")
@click.option(
    "--source-field",
    default="meta.pile_set_name",
    show_default=True,
    help="Where a record names its source.",
)
@click.option(
    "--encoder",
    type=click.Choice(["auto", "tokenizers"]),
    default="auto",
    show_default=True,
    help="auto is fastokens, judged by tokenizers, where the two agree; the tokens are the same.",
)
@click.option("--allow-id-gaps", is_flag=True, help="Take a tokenizer whose ids have gaps.")
@options.on_bad_record_option
@options.max_skipped_option
@click.option(
    "--max-document-bytes",
    metavar="BYTES",
    default="64M",
    show_default=True,
    help="A larger record counts as a bad one: memory grows with it.",
)
@options.workers_option
@options.all_sources_option
@options.json_option
def command(
    inputs: tuple[str, ...],
    output: Path,
    shard_bytes: str | None,
    max_document_bytes: str,
    all_sources: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Turn a corpus into a token dataset that GPT-NeoX and Megatron can train on.

    IN are files, directories or patterns of .jsonl.zst, .jsonl.gz, .jsonl and .parquet shards. Documents
    keep the order of the corpus, and documents.parquet says where each of them came from.
    """
    from pile_tools.formats.sizes import parse_bytes
    from pile_tools.stages.tokenize import tokenize

    cut = None if shard_bytes is None else parse_bytes(shard_bytes)
    with options.progress_bar() as progress:
        manifest = tokenize(
            inputs,
            output,
            shard_bytes=cut,
            max_document_bytes=parse_bytes(max_document_bytes),
            progress=progress,
            warn=options.warn,
            **settings,
        )
    counts = manifest.counts
    options.print_passed_over(counts)
    if as_json:
        options.print_json({"path": str(output), **manifest.parameters, **counts})
        return
    _print_sources(counts, all_sources=all_sources)
    for name, label in (
        ("skipped_records", "bad records passed over"),
        ("oversized_records", "records passed over for their size"),
        ("repaired_documents", "documents repaired with U+FFFD"),
        ("empty_documents", "empty documents"),
        ("eod_inside", "EOD tokens inside a text"),
    ):
        if counts[name]:
            click.echo(f"{counts[name]:,} {label}")
    encoder = counts["encoder"]
    if encoder["name"] == "fastokens":
        how = f"fastokens, {encoder['judged_documents']:,} documents judged equal by tokenizers"
    else:
        how = f"tokenizers, because {encoder['because']}"
    click.echo(f"encoded by {how}")
    click.echo(f"{output}: {manifest.parameters['dtype']} tokens")


def _print_sources(counts: Mapping[str, Any], *, all_sources: bool) -> None:
    fields = ("documents", "bytes", "tokens")
    rows = [(name, *(entry[field] for field in fields)) for name, entry in counts["sources"].items()]
    named = sorted((row for row in rows if row[0]), key=lambda row: (-row[-1], row[0]))
    shown = fold_rows(named, "sources", limit=None if all_sources else LARGEST)
    shown += [("(none)", *row[1:]) for row in rows if not row[0]]
    shown.append(("all", *(counts[name] for name in ("documents", "text_bytes", "tokens"))))
    print_table(("source", "documents", "text bytes", "tokens"), shown)
