"""The options by which commands name a stream, and the viewer that they open."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from . import options

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

F = TypeVar("F", bound=Callable[..., Any])


def stream_options(function: F) -> F:
    """Add the options that ``open_viewer`` takes."""
    for option in reversed(
        [options.data_option, options.order_option, options.batch_size_option, options.tokenizer_option]
    ):
        function = option(function)
    return function


def open_viewer(
    *, data: str, order: str | None, batch_size: int | None, tokenizer: str | None
) -> "BatchViewer":
    """Open the stream that the options name."""
    from pile_tools.viewer import BatchViewer

    return BatchViewer.open(data, order=order, batch_size=batch_size, tokenizer=tokenizer)
