"""Another try where the last may have failed by chance, a bounded number of times and ever later."""

from collections.abc import Callable
from time import sleep
from typing import Final, TypeVar

from pile_tools.errors import PileToolsError

__all__ = ["ATTEMPTS", "TryAgain", "retried"]

T = TypeVar("T")

ATTEMPTS: Final = 6
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 30.0


class TryAgain(Exception):
    """What happened may not happen again.

    ``after`` is how many seconds the server asks to wait; ``kind`` the error that this becomes when it
    has happened ``ATTEMPTS`` times.
    """

    def __init__(
        self, reason: str, after: float | None = None, kind: type[PileToolsError] = PileToolsError
    ) -> None:
        super().__init__(reason)
        self.after = after
        self.kind = kind


def retried(function: Callable[[], T], name: str) -> T:
    """Call ``function`` until it raises no ``TryAgain``, ``ATTEMPTS`` times at most.

    The waits double from half a second, or are what the server asks for, up to 30 seconds each.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return function()
        except TryAgain as error:
            wait = _FIRST_WAIT * 2**attempt if error.after is None else error.after
            sleep(min(wait, _LONGEST_WAIT))
    try:
        return function()
    except TryAgain as error:
        raise error.kind(f"{name}: {error}; gave up after {ATTEMPTS} tries, try again later") from None
