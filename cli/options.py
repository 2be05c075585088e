"""Options that several commands share, each spelled once, and how commands report."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
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
    help="Report after each multiple of this number of steps.",
)


class OutputFile(click.Path):
    """A file to write, checked before hours are spent on what goes into it.

    It does not exist yet, is a pipe or a device, or is an earlier output of the same kind (``is_earlier``).
    Its name ends in one of ``suffixes``, where there are any, and no manifest or record lists it.
    """

    def __init__(self, *suffixes: str, is_earlier: Callable[[Path], bool] = lambda path: False) -> None:
        super().__init__(path_type=Path)
        self._suffixes, self._is_earlier = suffixes, is_earlier

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from pile_tools.formats.outputs import refuse_output

        path = Path(value)
        is_file = path.is_file() or not path.exists()
        if is_file and self._suffixes and path.suffix not in self._suffixes:
            raise ParameterError(f"{path}: not the name of a file of {' or '.join(self._suffixes)}")
        if not path.absolute().parent.is_dir():
            raise ParameterError(f"{path}: no such directory {path.parent}; make it, or name another file")
        refuse_output(path, self._is_earlier)
        return path


class PictureFile(OutputFile):
    """A picture to draw, which replaces no file but an earlier picture."""

    def __init__(self, *suffixes: str) -> None:
        super().__init__(*(suffixes or (".png",)), is_earlier=_is_picture)


def _is_picture(path: Path) -> bool:
    from pile_tools.formats.outputs import is_picture

    return is_picture(path)


table_option = click.option(
    "-o",
    "--output",
    type=OutputFile(".parquet"),
    default=None,
    metavar="FILE.parquet",
    help="File to write the table to; one that exists is not replaced.",
)


def drawable(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Check that a figure can be drawn before hours are spent on what it shows."""
    from pile_tools.formats.figures import check_figures

    if path is not None:
        check_figures()
    return path


plot_option = click.option(
    "--plot",
    type=PictureFile(),
    default=None,
    callback=drawable,
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
    show_default="one for each core, within the CPU quota",
    help="Processes to use; the output does not depend on their number.",
)

on_bad_record_option = click.option(
    "--on-bad-record",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with a record that is not JSON or has no text.",
)


def _parse_share(ctx: click.Context, param: click.Parameter, value: str) -> Fraction:
    from pile_tools.formats.sizes import parse_share

    return parse_share(value)


max_skipped_option = click.option(
    "--max-skipped",
    metavar="SHARE",
    callback=_parse_share,
    default="1%",
    show_default=True,
    help="End without an output where more of the records are skipped, like 5% or 0.05.",
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


# What huggingface_hub, transformers, datasets and others that draw with tqdm look at when they are imported.
_BAR_SWITCHES = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


@contextmanager
def quiet_bars(*, show: bool) -> Iterator[None]:
    """Keep other libraries from drawing bars, here and in processes that are started, unless ``show``."""
    if show:
        yield
        return
    before = {name: os.environ.get(name) for name in _BAR_SWITCHES}
    os.environ.update(dict.fromkeys(_BAR_SWITCHES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
            bars[label] = tqdm(
                total=total, desc=label, unit_scale=True, leave=False, file=sys.stderr, disable=False
            )
        bars[label].update(done - bars[label].n)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()


def warn(line: str) -> None:
    """Print a line on standard error that is no error."""
    click.echo(f"pile-tools: {line}", err=True)


def print_passed_over(counts: Mapping[str, Any]) -> None:
    """Say on standard error which files of a corpus were passed over on purpose, if any were."""
    from pile_tools.formats.corpus_files import describe_passed_over

    if counts.get("passed_over"):
        click.echo(f"passed over: {describe_passed_over(counts['passed_over'])}", err=True)


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


def address(shard: str | None, row: int | None) -> str:
    """A place in a corpus as it is shown: SHARD:ROW, or a file that is shown whole."""
    return f"{shard}" if row is None else f"{shard}:{row}"
