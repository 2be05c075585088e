"""The options by which commands name a stream, and the viewer that they open."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import options

if TYPE_CHECKING:
    from pile_tools.storage.block_cache import BlockCache
    from pile_tools.viewer import BatchViewer

F = TypeVar("F", bound=Callable[..., Any])

suite_option = click.option(
    "--suite",
    default=None,
    metavar="NAME|FILE",
    help="Read the stream of a suite where it is published, in place of --data (see `pile-tools suites`).",
)
io_option = click.option(
    "--io",
    type=click.Choice(["mmap", "pread"]),
    default="mmap",
    show_default=True,
    help="How files of this machine are read; pread is for files that may shrink meanwhile.",
)
cache_option = click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="DIR",
    help="Keep what is fetched from URLs in this directory.",
)
cache_bytes_option = click.option(
    "--cache-bytes",
    type=click.IntRange(min=1),
    default=10 << 30,
    show_default=True,
    help="Bytes that the cache may hold; the oldest are given up first.",
)
ENVIRONMENT = "PILE_TOOLS_DATA"


def data_options(*, argument: bool = True, default: str | None = ".") -> Callable[[F], F]:
    """Add ``--data``, which may be written as the last ``argument`` DATA instead; the command gets ``data``.

    ``default`` is the current directory, or None for a command that can do without a dataset, which does not
    look at the environment then. Two different ones, or one beside ``--suite``, are a usage error.
    """
    option = click.option(
        "--data",
        default=None,
        envvar=None if default is None else ENVIRONMENT,
        show_envvar=True,
        metavar="DATA",
        show_default=False if default is None else "current directory",
        help="Directory, prefix or URL of the token dataset.",
    )

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def command(*, data: str | None, data_argument: str | None = None, **settings: Any) -> Any:
            typed = one_location(data_argument, data if is_typed("data") else None)
            if typed is not None and settings.get("suite") is not None:
                raise click.UsageError("--data and --suite name two streams; give one of them")
            return function(data=data_argument or data or default, **settings)

        decorated: Any = option(command)
        if argument:
            decorated = click.argument("data_argument", metavar="[DATA]", required=False)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def is_typed(name: str) -> bool:
    """Whether the parameter ``name`` is on the command line, and not from the environment or a default."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def one_location(argument: str | None, option: str | None) -> str | None:
    """Return the dataset that DATA and ``--data`` name; a usage error where they name two."""
    if argument is None or option is None or argument == option:
        return option if argument is None else argument
    if "://" in argument + option or os.path.realpath(argument) != os.path.realpath(option):
        raise click.UsageError(f"DATA {argument} and --data {option} name two datasets; give one of them")
    return argument


def stream_options(
    *, argument: bool = True, default: str | None = ".", order: bool = True, tokenizer: bool = True
) -> Callable[[F], F]:
    """Add the options that name a stream, which ``open_viewer`` takes (see ``data_options``).

    ``order`` and ``tokenizer`` say whether a command has these options.
    """

    def decorate(function: F) -> F:
        added: list[Callable[[Any], Any]] = [data_options(argument=argument, default=default)]
        added += [options.trust_files_option, suite_option]
        added += [options.order_option] if order else []
        added += [options.batch_size_option]
        added += [options.tokenizer_option] if tokenizer else []
        added += [io_option, cache_option, cache_bytes_option]
        for option in reversed(added):
            function = option(function)
        return function

    return decorate


def take_stream(settings: dict[str, Any]) -> dict[str, Any]:
    """Take the options that name a stream out of the ``settings`` of a command and return them."""
    names = ("data", "suite", "order", "batch_size", "tokenizer", "io", "cache", "cache_bytes")
    return {name: settings.pop(name) for name in names if name in settings}


def open_cache(cache: Path | None, cache_bytes: int) -> "BlockCache | None":
    """Open the cache of the options, if one is named."""
    from pile_tools.storage.block_cache import BlockCache

    return None if cache is None else BlockCache(cache, cache_bytes)


def open_viewer(*, data: str, suite: str | None, order: str | None, **stream: Any) -> "BatchViewer":
    """Open the stream that the options name; say on standard error what is not certain of a suite."""
    from pile_tools.viewer import BatchViewer

    named = open_options(**stream)
    if suite is None:
        return BatchViewer.open(data, order=order, **named)
    viewer = BatchViewer.from_suite(suite, order=order, **named)
    opened = viewer.suite
    if opened is not None and opened.uncertain:
        click.echo(
            f"suite {opened.name}: found {viewer.dataset.n_sequences:,} sequences in "
            f"{len(viewer.dataset.parts)} data files",
            err=True,
        )
        for text in opened.uncertain:
            click.echo(f"suite {opened.name}: not known for certain: {text}", err=True)
    return viewer


def open_options(*, cache: Path | None, cache_bytes: int, **stream: Any) -> dict[str, Any]:
    """Return those of the stream options that say how a stream is opened, as ``BatchViewer.open`` does."""
    named = {name: stream.get(name) for name in ("batch_size", "tokenizer", "io")}
    return named | {"cache": open_cache(cache, cache_bytes)}
