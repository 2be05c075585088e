"""``pile-tools verify``."""

from pathlib import Path

import click

from pile_tools.errors import UnfinishedError

from . import options


@options.command(example="pile-tools verify kept/ tokens/")
@click.argument(
    "directories",
    nargs=-1,
    envvar="PILE_TOOLS_DATA",
    metavar="DIR...",
    required=True,
)
@click.option(
    "--data",
    "streams",
    multiple=True,
    metavar="DIR",
    help="A token dataset with its order, to prove with what checkpoints have read; may be repeated.",
)
@options.trust_files_option
@options.steps_option
@options.order_option
@click.option(
    "--digests",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=None,
    metavar="DIR",
    help="Compare the stream with these digests, which `pile-tools digest -o DIR` wrote, and nothing else.",
)
@options.json_option
def command(
    directories: tuple[str, ...],
    streams: tuple[str, ...],
    steps: options.Steps | None,
    order: str | None,
    digests: Path | None,
    as_json: bool,
) -> None:
    """Check that DIR still holds what was made: every byte, every format rule, every number.

    DIR is the output of a stage, a token dataset, an order, a training run (also one that is not finished)
    or one of its checkpoints.
    Everything that a manifest lists is hashed again; then each kind of content is checked whole.
    Steps that `pile-tools digest` has digested are digested again; with --steps, some of them are, and
    nothing else is checked. --order names the one order, in DIR or elsewhere, whose steps are compared; with
    --data, that of what checkpoints have read. Of a stream behind a URL, the steps are compared with the
    digests that are stored there, or with --digests, and nothing else is checked. Digests of the same stream
    in another storage serve as well. Ends with 3 at the first file or step that is not right, and names it;
    with 4 where --data is not all that a checkpoint has read, so that a part of it is not proved.
    """
    from pile_tools.checks.locations import verify_locations

    with options.progress_bar() as progress:
        reports, unproved = verify_locations(
            directories, streams=streams, steps=steps, order=order, digests=digests, progress=progress
        )
    if as_json:
        names = ("path", "check", "found")
        options.print_json({"verified": [dict(zip(names, report, strict=True)) for report in reports]})
    else:
        for path, check, message in reports:
            click.echo(f"{path}: {check}: {message}")
    if streams and unproved:
        raise UnfinishedError(
            f"{unproved[0]}, so they are not proved; give the stream that they are of with --data, too"
        )
