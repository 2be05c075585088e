"""Options that several commands share, each spelled once, and how commands report."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from pile_tools.errors import ParameterError, needs_extra

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Session:
    """What holds for one run of the command line, whichever command it is."""

    debug: bool = False


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Session).debug = True


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_set_debug,
    help="Show a traceback where an error would be one line.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON on standard output.")

data_option = click.option(
    "--data",
    type=str,
    envvar="PILE_TOOLS_DATA",
    default=".",
    show_envvar=True,
    show_default="current directory",
    help="Directory (or prefix) of the token dataset.",
)

order_option = click.option(
    "--order",
    default=None,
    show_default="the only one",
    help="Order of the dataset: its name, or the directory or file where it is.",
)

batch_size_option = click.option(
    "--batch-size",
    type=int,
    default=None,
    show_default="as recorded with the order",
    help="Read the order at this batch size; needed for maps that another tool saved.",
)

tokenizer_option = click.option(
    "--tokenizer",
    default=None,
    metavar="FILE|HUB_ID",
    show_default="the one beside the dataset",
    help="Tokenizer that turns tokens to text.",
)

Steps = tuple[int | None, int | None]


def _parse_steps(ctx: click.Context, param: click.Parameter, value: str | None) -> Steps | None:
    from pile_tools.lookups.stream import parse_steps

    return None if value is None else parse_steps(value)


steps_option = click.option(
    "--steps",
    callback=_parse_steps,
    default=None,
    metavar="START:STOP",
    show_default="all",
    help="Steps from START up to STOP, STOP not included; either may be left out.",
)

every_option = click.option(
    "--every",
    type=click.IntRange(min=1),
    default=None,
    metavar="STEPS",
    show_default="the last checkpoint only",
    help="Report after each multiple of this number of steps.",
)


def _writable(*suffixes: str) -> Callable[[click.Context, click.Parameter, Path | None], Path | None]:
    """Check where an answer is to be written before hours are spent on it."""

    def check(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is None:
            return None
        if path.suffix not in suffixes:
            raise ParameterError(f"{path}: not the name of a file of {' or '.join(suffixes)}")
        if not path.absolute().parent.is_dir():
            raise ParameterError(f"{path}: no such directory {path.parent}; make it, or name another file")
        return path

    return check


writable_table = _writable(".parquet")
"""Callback of an option that names the Parquet file of an answer."""


def _drawable(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Check that a figure can be drawn and written before hours are spent on what it shows."""
    from pile_tools.formats.figures import check_figures

    path = _writable(".png")(context, parameter, path)
    if path is not None:
        check_figures()
    return path


plot_option = click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    callback=_drawable,
    metavar="FILE.png",
    help="Draw the answer into this file; needs matplotlib (the extra `plot`).",
)

all_sources_option = click.option(
    "--all",
    "all_sources",
    is_flag=True,
    help="Show every source, not the 10 largest and the sum of the others.",
)

output_directory_option = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Directory to write; a finished one is left as it is, an unfinished one is resumed.",
)

workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=None,
    show_default="one for each core",
    help="Processes to use; the output does not depend on their number.",
)

on_bad_record_option = click.option(
    "--on-bad-record",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with a record that is not JSON or has no text.",
)


class Command(click.Command):
    """A command that says which extra brings a package that it needs."""

    def invoke(self, ctx: click.Context) -> Any:
        with needs_extra(f"`{ctx.command_path}`"):
            return super().invoke(ctx)


def command(*, example: str, **settings: Any) -> Callable[[F], click.Command]:
    """Make a function a command that has ``--debug`` and whose help ends with ``example``."""

    def decorate(function: F) -> click.Command:
        decorated: Callable[..., Any] = debug_option(function)
        return click.command(cls=Command, epilog=f"Example: {example}", **settings)(decorated)

    return decorate


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a `Progress` function that draws a bar on a terminal's standard error and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda label, done, total: None
        return
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def progress(label: str, done: int, total: int) -> None:
        if label not in bars:
            for bar in bars.values():
                bar.close()
            bars[label] = tqdm(total=total, desc=label, unit_scale=True, leave=False, file=sys.stderr)
        bars[label].update(done - bars[label].n)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of standard output."""
    click.echo(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode())


def address(shard: str | None, row: int | None) -> str:
    """A place in a corpus as it is shown: SHARD:ROW, or a file that is shown whole."""
    return f"{shard}" if row is None else f"{shard}:{row}"
