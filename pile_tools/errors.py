"""The errors that pile-tools raises on purpose.

Each message is one line that names the file, the value and the remedy. ``exit_code`` is what the
command line ends with; everything else that a command can end with is in ``ExitCode``.
"""

from enum import IntEnum

__all__ = [
    "DataError",
    "ExitCode",
    "OutOfRangeError",
    "ParameterError",
    "PileToolsError",
    "RecordsError",
    "UnfinishedError",
]


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
