"""``pile-tools dedup``."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from . import options
from .tables import LARGEST, fold_rows, print_table, print_text


@options.command(example="pile-tools dedup corpus/ -o kept/ --threshold 0.87")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True)
@options.output_directory_option
@click.option(
    "--threshold", default=None, show_default="0.87", help="Least Jaccard similarity of duplicates."
)
@click.option(
    "--verify",
    type=click.Choice(["exact", "none"]),
    default=None,
    show_default="exact",
    help="Verify candidates by their exact similarity, or take every pair that shares a band.",
)
@click.option(
    "--keep",
    type=click.Choice(["first", "last", "longest"]),
    default=None,
    show_default="first",
    help="Which document of a component stays.",
)
@click.option(
    "--preset",
    type=click.Choice(["datasketch", "pile-dedupe"]),
    default=None,
    help="Do as datasketch.MinHashLSH does (nothing verified), or as EleutherAI's scripts for the Pile.",
)
@click.option(
    "--normalize",
    type=click.Choice(["nfc", "nfkc", "none"]),
    default=None,
    show_default="nfc; presets: none",
    help="Unicode form in which texts are compared; what stays is written as it is.",
)
@click.option("--exact", is_flag=True, help="Remove only documents whose whole text was there before.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="OTHER",
    help="Output of an earlier dedup: remove what is in it already. May be given more than once.",
)
@click.option(
    "--save-signatures", is_flag=True, help="Keep what a later --against needs instead of the text."
)
@click.option("--ngram", type=int, default=None, show_default="5", help="Words in a shingle.")
@click.option(
    "--num-perm",
    type=int,
    default=None,
    show_default="128; preset pile-dedupe: 10",
    help="Values in a signature.",
)
@click.option("--seed", type=int, default=None, show_default="1", help="Seed of the permutations.")
@click.option(
    "--text-field", default="text", show_default=True, help="Field of a record that holds its text."
)
@click.option(
    "--source-field",
    default="meta.pile_set_name",
    show_default=True,
    help="Field of a record that names its source.",
)
@options.on_bad_record_option
@options.max_skipped_option
@click.option(
    "--max-document-bytes",
    default="64M",
    show_default=True,
    help="Larger records pass through without being compared.",
)
@options.workers_option
@click.option(
    "--memory",
    default=None,
    show_default="half of the machine's, or of the cgroup's",
    help="Memory to use, like 8G; the output does not depend on it.",
)
@click.option(
    "--plot",
    type=options.PictureFile(".png", ".pdf", ".svg"),
    default=None,
    callback=options.drawable,
    metavar="FILE",
    help="Draw components by size and removed documents by similarity (.png, .pdf, .svg).",
)
@options.all_sources_option
@options.json_option
def command(
    inputs: tuple[str, ...],
    output: Path,
    exact: bool,
    against: tuple[Path, ...],
    max_skipped: Fraction,
    max_document_bytes: str,
    workers: int | None,
    memory: str | None,
    plot: Path | None,
    all_sources: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Remove near-duplicate documents from a corpus.

    IN are shards (.jsonl.zst, .jsonl.gz, .jsonl, .parquet), directories of them, or patterns. OUTPUT gets
    what stays, under the same names and unchanged record by record, dedup.parquet with a row for
    each removed document and the one that it duplicates, and manifest.json.
    """
    from pile_tools.stages.dedup_workers import start_workers

    start_workers(inputs, workers, output)  # first of all: it goes on beside the other imports

    from pile_tools.formats.sizes import parse_bytes
    from pile_tools.stages.dedup import dedup
    from pile_tools.stages.dedup_job import resolve_job
    from pile_tools.stages.dedup_plot import plot_histograms
    from pile_tools.stages.dedup_report import summary

    job = resolve_job(exact=exact, max_document_bytes=parse_bytes(max_document_bytes), **given)
    with options.progress_bar() as progress:
        manifest = dedup(
            inputs,
            output,
            job,
            against=against,
            max_skipped=max_skipped,
            workers=workers,
            memory=None if memory is None else parse_bytes(memory),
            progress=progress,
            warn=options.warn,
        )
    if plot is not None:
        plot_histograms(manifest.counts, plot)
    counts = summary(manifest.counts)
    options.print_passed_over(counts)
    if as_json:
        parameters = dict(sorted(manifest.parameters.items()))
        options.print_json({"output": str(output), "parameters": parameters, **counts})
        return
    _print_summary(dict(manifest.parameters), counts, all_sources=all_sources)


def _print_summary(parameters: dict[str, Any], counts: dict[str, Any], *, all_sources: bool) -> None:
    header = ("source", "documents", "removed", "kept", "bytes", "removed bytes", "kept bytes")
    fields = ("documents", "removed", "kept", "bytes", "removed_bytes", "kept_bytes")
    sources = sorted(counts["sources"].items(), key=lambda item: (-item[1]["documents"], item[0]))
    rows = [(name or '""', *(sums[field] for field in fields)) for name, sums in sources]
    rows = fold_rows(rows, "sources", limit=None if all_sources else LARGEST)
    if "without_source" in counts:
        rows.append(("(none)", *(counts["without_source"][field] for field in fields)))
    totals = ("documents", "removed", "kept", "text_bytes", "removed_bytes", "kept_bytes")
    rows.append(("all", *(counts[name] for name in totals)))
    print_table(header, rows)
    if parameters["method"] != "text":
        click.echo(
            f"threshold {parameters['threshold']}, {parameters['bands']} bands of {parameters['rows']} rows, "
            f"verify {parameters['verify']}"
        )
    for name, what in (("components", "components by size"), ("similarities", "removed by similarity")):
        if counts[name]:
            print_text(f"{what}: " + ", ".join(f"{key}: {value:,}" for key, value in counts[name].items()))
    for name in ("skipped_records", "oversized_records", "blank_lines", "repaired_documents"):
        if counts[name]:
            click.echo(f"{name.replace('_', ' ')}: {counts[name]:,}")
