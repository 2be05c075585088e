"""Downloads by huggingface_hub into its own cache: limits of the Hub obeyed, bars on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pile_tools.formats.retry import TryAgain, asked_wait, retried

__all__ = ["downloaded"]


def downloaded(name: str, download: Callable[[], str]) -> Path:
    """Return the path that ``download`` gives, a call of huggingface_hub that fetches what ``name`` names.

    Raises what the call raises; where the Hub asks for a wait, as ``retried`` does.
    """
    from huggingface_hub.errors import HfHubHTTPError

    def once() -> Path:
        try:
            return Path(download())
        except (HfHubHTTPError, OSError) as error:
            # Without a copy in its cache huggingface_hub says so, and what the Hub said is the cause.
            cause = error if isinstance(error, HfHubHTTPError) else error.__cause__
            response = getattr(cause, "response", None)
            if response is None or response.status_code != 429:
                raise
            raise TryAgain("the Hub says 429", asked_wait(response.headers)) from None

    with _bars_on_terminals():
        return retried(once, name)


@contextmanager
def _bars_on_terminals() -> Iterator[None]:
    """Let huggingface_hub draw its bars on a terminal only."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
