"""The errors that pile-tools raises on purpose.

Each message is one line that names the file, the value and the remedy. ``exit_code`` is what the
command line ends with; everything else that a command can end with is in ``ExitCode``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

__all__ = [
    "EXTRAS",
    "DataError",
    "ExitCode",
    "MissingExtraError",
    "OutOfRangeError",
    "ParameterError",
    "PileToolsError",
    "RecordsError",
    "UnfinishedError",
    "needs_extra",
]

EXTRAS: Final = {
    "torch": "train",
    "safetensors": "train",
    "matplotlib": "plot",
    "transformers": "studies",
    "scipy": "studies",
    "nltk": "pile-dedupe",
}
"""Packages that not every installation has, and the smallest extra of ours that brings each."""


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    DATA = 3
    UNFINISHED = 4
    INTERRUPTED = 130


class PileToolsError(Exception):
    """Base of all errors raised on purpose; raised itself where no child says more."""

    exit_code = ExitCode.ERROR


class ParameterError(PileToolsError, ValueError):
    """A parameter has a value that no data could make valid."""

    exit_code = ExitCode.USAGE


class DataError(PileToolsError, ValueError):
    """Data failed a check: a malformed file, or files that do not belong together."""

    exit_code = ExitCode.DATA


class RecordsError(DataError):
    """Records of a corpus are no documents as it is read; other options may read them."""


class OutOfRangeError(PileToolsError, IndexError):
    """A step, row, sequence or document number that the data does not have."""


class UnfinishedError(PileToolsError):
    """An output is not finished; running the same command again resumes it."""

    exit_code = ExitCode.UNFINISHED


class MissingExtraError(PileToolsError):
    """An optional package is not installed."""


@contextmanager
def needs_extra(purpose: str) -> Iterator[None]:
    """Turn a missing package of ``EXTRAS``, needed for ``purpose``, into MissingExtraError.

    The message gives the commands that install the extra, in a clone of the repository and from an index.
    Other missing packages are left as they are.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        raise MissingExtraError(
            f"{package} is not installed, and {purpose} needs it; install the extra `{extra}`: "
            f"pip install '.[{extra}]' in a clone of pile-tools, elsewhere pip install 'pile-tools[{extra}]'"
        ) from None
