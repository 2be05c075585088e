"""``pile-tools merge``."""

from pathlib import Path

import click

from . import options
from .streams import data_options


@options.command(example="pile-tools merge tokens/ -o merged/")
@data_options()
@options.output_directory_option
@options.json_option
def command(data: str, output: Path, as_json: bool) -> None:
    """Copy the token dataset DATA to OUTPUT with its data in one .bin file.

    GPT-NeoX and Megatron read that form; pile-tools reads shards where they are and needs no merge.
    Index, provenance, tokenizer and orders go along, and no token changes.
    """
    from pile_tools.stages.recut import recut

    with options.progress_bar() as progress:
        manifest = recut(data, output, shard_bytes=None, progress=progress)
    files = [entry for entry in manifest.outputs if entry.name.endswith(".bin")]
    if as_json:
        options.print_json({"path": str(output), "files": [entry.to_json() for entry in files]})
        return
    for entry in files:
        click.echo(f"{output / entry.name}: {entry.bytes:,} bytes")
