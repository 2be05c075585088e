"""The options by which commands name a stream, and the viewer that they open."""

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


def stream_options(function: F) -> F:
    """Add the options that ``open_viewer`` takes."""
    for option in reversed(
        [
            options.data_option,
            suite_option,
            options.order_option,
            options.batch_size_option,
            options.tokenizer_option,
            io_option,
            cache_option,
            cache_bytes_option,
        ]
    ):
        function = option(function)
    return function


def open_cache(cache: Path | None, cache_bytes: int) -> "BlockCache | None":
    """Open the cache of the options, if one is named."""
    from pile_tools.storage.block_cache import BlockCache

    return None if cache is None else BlockCache(cache, cache_bytes)


def open_viewer(
    *,
    data: str,
    suite: str | None,
    order: str | None,
    batch_size: int | None,
    tokenizer: str | None,
    io: Any,
    cache: Path | None,
    cache_bytes: int,
) -> "BatchViewer":
    """Open the stream that the options name; say on standard error what is not certain of a suite."""
    from pile_tools.viewer import BatchViewer

    named: dict[str, Any] = {
        "order": order,
        "batch_size": batch_size,
        "tokenizer": tokenizer,
        "io": io,
        "cache": open_cache(cache, cache_bytes),
    }
    if suite is None:
        return BatchViewer.open(data, **named)
    source = click.get_current_context().get_parameter_source("data")
    if source == click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--data and --suite name two streams; give one of them")
    viewer = BatchViewer.from_suite(suite, **named)
    found = viewer.suite
    if found is not None and found.uncertain:
        click.echo(
            f"suite {found.name}: found {viewer.dataset.n_sequences:,} sequences in "
            f"{len(viewer.dataset.parts)} data files",
            err=True,
        )
        for text in found.uncertain:
            click.echo(f"suite {found.name}: not known for certain: {text}", err=True)
    return viewer
