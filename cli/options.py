"""Options that several commands share, each spelled once, and how commands report."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import orjson

from pile_tools.errors import ParameterError

if TYPE_CHECKING:
    import pyarrow as pa

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


def _trust_files(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from pile_tools.formats.proofs import current_proofs

        current_proofs().believe()


trust_files_option = click.option(
    "--trust-files",
    is_flag=True,
    expose_value=False,
    callback=_trust_files,
    help="Believe orders and tables as they are, and do not prove them before their first use.",
)

_data_option = click.option(
    "--data",
    type=str,
    envvar="PILE_TOOLS_DATA",
    default=".",
    show_envvar=True,
    show_default="current directory",
    help="Directory (or prefix) of the token dataset.",
)


def data_option(function: F) -> F:
    """Add ``--data``, and ``--trust-files`` after it."""
    return _data_option(trust_files_option(function))


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
    help="Report at every so many steps.",
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

plot_option = click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    callback=_writable(".png"),
    metavar="FILE.png",
    help="Draw the answer into this file; needs matplotlib (the extra `plot`).",
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


def command(*, example: str, **settings: Any) -> Callable[[F], click.Command]:
    """Make a function a command that has ``--debug`` and whose help ends with ``example``."""

    def decorate(function: F) -> click.Command:
        decorated: Callable[..., Any] = debug_option(function)
        return click.command(cls=click.Command, epilog=f"Example: {example}", **settings)(decorated)

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
    """Print one JSON object on a line of standard output, and in it what it rests on no proof of."""
    click.echo(orjson.dumps({**value, **unproved()}, option=orjson.OPT_SERIALIZE_NUMPY).decode())


def unproved() -> dict[str, Any]:
    """Return what a JSON answer says of files that were believed or not looked at; nothing as a rule."""
    from pile_tools.formats.proofs import current_proofs

    proofs = current_proofs()
    trusted = {"trust_files": True} if proofs.trust else {}
    return trusted | ({"unproved": proofs.unproved} if proofs.unproved else {})


@contextmanager
def proved_files() -> Iterator[None]:
    """Prove files in the block with lines on standard error, and a bar on a terminal where it takes long.

    Where the block has given an answer, lines say what that does not rest on a proof of.
    """
    from pile_tools.formats.proofs import Proofs, use_proofs

    with ExitStack() as bars:
        bar: Callable[[str, int, int], None] | None = None

        def progress(label: str, done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = bars.enter_context(progress_bar())
            bar(label, done, total)
            if done >= total:
                bars.close()
                bar = None

        with use_proofs(Proofs(notify=lambda line: click.echo(line, err=True), progress=progress)) as proofs:
            yield
    for line in proofs.unproved:
        click.echo(line, err=True)


def print_arrow(table: "pa.Table") -> None:
    """Print an Arrow table of numbers and short texts, "-" for null."""
    rows = [tuple(_cell(value) for value in row.values()) for row in table.to_pylist()]
    print_table(tuple(table.column_names), rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def address(shard: str | None, row: int | None) -> str:
    """A place in a corpus as it is shown: SHARD:ROW, or a file that is shown whole."""
    return f"{shard}" if row is None else f"{shard}:{row}"


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print left-aligned first column and right-aligned others under a header."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        click.echo("  ".join(cells).rstrip())
