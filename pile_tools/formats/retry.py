"""Retry policy of remote reads: other tries after failures by chance, and waits that a server asks for."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import sleep
from typing import Final, TypeVar

from pile_tools.errors import PileToolsError, UnfinishedError

__all__ = ["ATTEMPTS", "PATIENCE", "TryAgain", "asked_wait", "retried"]

T = TypeVar("T")

ATTEMPTS: Final = 6
PATIENCE: Final = 300.0
"""Seconds that one read waits in all because a server asks for it."""
_FIRST_WAIT: Final = 0.5
# Ten years: what a server asks for may be any number, and a date has a last year.
_LONGEST: Final = 315_360_000.0
_LIMIT_RESET: Final = re.compile(r";\s*t\s*=\s*(\d+)", re.IGNORECASE)


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


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the ``headers`` of a refusal ask to wait, None where they ask for none.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, 10.2.3), which counts from the server's own
    ``Date``. ``RateLimit`` is what the Hub sends: ``"api";r=0;t=20``, one or several, of which the longest
    counts. The names of ``headers`` are looked up as they are here: they must not depend on case.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text):
        return float(text)
    if (moment := _moment(text)) is not None:
        now = _moment(headers.get("Date", "")) or datetime.now(UTC)
        return max(0.0, (moment - now).total_seconds())
    resets = _LIMIT_RESET.findall(headers.get("RateLimit", ""))
    return max(map(float, resets), default=None)


def _moment(text: str) -> datetime | None:
    """Return the moment that the HTTP date ``text`` names, None for any other text."""
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def retried(function: Callable[[], T], name: str) -> T:
    """Call ``function`` until it raises no ``TryAgain``.

    Where the server asks for a wait, that is obeyed as long as all waits together are no longer than
    ``PATIENCE``; UnfinishedError says when to run again where they would be. Else there are ``ATTEMPTS``
    tries, after waits that double from half a second.
    """
    failures, waited = 0, 0.0
    while True:
        try:
            return function()
        except TryAgain as error:
            if error.after:
                waited += error.after
                if waited > PATIENCE:
                    raise UnfinishedError(_later(name, error, error.after)) from None
                wait = error.after
            else:
                failures += 1
                if failures == ATTEMPTS:
                    raise error.kind(
                        f"{name}: {error}; gave up after {ATTEMPTS} tries, try again later"
                    ) from None
                wait = _FIRST_WAIT * 2 ** (failures - 1) if error.after is None else error.after
        sleep(wait)


def _later(name: str, error: TryAgain, seconds: float) -> str:
    """Return the message of an error that asks for a longer wait than there is patience for."""
    moment = datetime.now(UTC) + timedelta(seconds=min(seconds + 1, _LONGEST))
    return (
        f"{name}: {error} and asks to wait {seconds:,.0f} s, where at most {PATIENCE:,.0f} s are waited in "
        f"all; run the same command again after {moment:%Y-%m-%d %H:%M:%S} UTC"
    )
