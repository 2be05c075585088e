"""``pile-tools split``."""

from pathlib import Path

import click

from . import options
from .streams import data_options


@options.command(example="pile-tools split tokens/ -o shards/ --shard-bytes 30e9")
@data_options()
@options.output_directory_option
@click.option(
    "--shard-bytes", required=True, metavar="BYTES", help="Length of every shard but the last (30e9, say)."
)
@options.json_option
def command(data: str, output: Path, shard_bytes: str, as_json: bool) -> None:
    """Copy the token dataset DATA to OUTPUT with its data in shards of --shard-bytes each but the last.

    The shards are named as Pythia's are. Index, provenance, tokenizer and orders go along, and no
    token changes.
    """
    from pile_tools.formats.sizes import parse_bytes
    from pile_tools.stages.recut import recut

    with options.progress_bar() as progress:
        manifest = recut(data, output, shard_bytes=parse_bytes(shard_bytes), progress=progress)
    files = [entry for entry in manifest.outputs if entry.name.endswith(".bin")]
    if as_json:
        options.print_json({"path": str(output), "files": [entry.to_json() for entry in files]})
        return
    for entry in files:
        click.echo(f"{output / entry.name}: {entry.bytes:,} bytes")
