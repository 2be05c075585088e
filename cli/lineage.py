"""``pile-tools lineage``."""

from pathlib import Path

import click
import orjson

from . import options
from .streams import data_options

SHOWN = 5


@options.command(example="pile-tools lineage tokens/")
@data_options()
@options.json_option
def command(data: str, as_json: bool) -> None:
    """Print the chain of manifests behind the directory DATA, back to the corpus that it began with.

    Each stage with its parameters, its inputs and its identity, the SHA-256 of its manifest.
    """
    from pile_tools.lookups.lineage import lineage

    directory = Path(data)
    chain = lineage(directory)
    if as_json:
        options.print_json({"path": str(directory), "chain": [link.to_json() for link in chain]})
        return
    for link in chain:
        manifest = link.manifest
        if manifest is None:
            click.echo(f"{'?':10}{link.identity}\n          its manifest is not known here")
            continue
        click.echo(f"{manifest.stage:10}{link.identity}")
        for name, value in manifest.parameters.items():
            click.echo(f"          {name} = {orjson.dumps(value).decode()}")
        for entry in manifest.inputs[:SHOWN]:
            documents = "" if entry.documents is None else f", {entry.documents:,} documents"
            click.echo(f"          from {entry.name}: {entry.bytes:,} bytes{documents}, {entry.sha256}")
        if manifest.inputs[SHOWN:]:
            click.echo(f"          and {len(manifest.inputs[SHOWN:]):,} more, which --json lists")
