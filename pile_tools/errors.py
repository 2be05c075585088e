"""Errors that pile-tools raises on purpose: a class for each kind that a caller can act on.

Each message is one line that names the file, the value and the remedy. ``exit_code`` is what the
command line ends with; everything else that a command can end with is in ``ExitCode``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

__all__ = [
    "EXTRAS",
    "BulkEncoderError",
    "BusyError",
    "ChangedError",
    "DataError",
    "DefectError",
    "DeniedError",
    "EmptyError",
    "ExitCode",
    "FileAccessError",
    "MismatchError",
    "MissingExtraError",
    "MissingFileError",
    "MissingStreamError",
    "NoDocumentError",
    "NonFiniteError",
    "OccupiedError",
    "OutOfRangeError",
    "ParameterError",
    "PileToolsError",
    "ProcessError",
    "RecordsError",
    "RemoteError",
    "TextGoneError",
    "UnanswerableError",
    "UnfinishedError",
    "UnsupportedError",
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
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class PileToolsError(Exception):
    """Base of all errors raised on purpose; never raised itself."""

    exit_code = ExitCode.ERROR


class ParameterError(PileToolsError, ValueError):
    """A parameter has a value that no data could make valid."""

    exit_code = ExitCode.USAGE


class OutOfRangeError(PileToolsError, IndexError):
    """A step, row, sequence or document number that the data does not have."""


class MissingFileError(PileToolsError):
    """A file or directory does not exist, here or behind a URL, or does not hold what is named."""


class MissingStreamError(MissingFileError):
    """No token dataset is where one was asked for."""


class TextGoneError(MissingFileError):
    """A shard that holds a text is not where it was."""


class EmptyError(PileToolsError):
    """An input exists but holds nothing to work on."""


class FileAccessError(PileToolsError):
    """A file or directory of this machine cannot be read or written."""


class DataError(PileToolsError):
    """Data failed a check: a file is damaged, malformed, or not what its record lists."""

    exit_code = ExitCode.DATA


class RecordsError(DataError):
    """Records of a corpus are no documents as it is read; other options may read them."""


class NoDocumentError(DataError):
    """A row of a shard that does not exist, or has no document in it."""


class MismatchError(DataError):
    """Data is sound but belongs to something else: another dataset, stream, model or corpus."""


class ChangedError(PileToolsError):
    """An input or output of a run was changed by something else before the run ended."""


class BusyError(PileToolsError):
    """Another run is at work in the directory."""


class OccupiedError(PileToolsError):
    """An output, or a directory, holds something else: other files, or the work of another job."""


class UnfinishedError(PileToolsError):
    """An output is not finished; running the same command again resumes it."""

    exit_code = ExitCode.UNFINISHED


class UnanswerableError(PileToolsError):
    """The data does not record what a question asks for."""


class UnsupportedError(PileToolsError):
    """A kind of data, URL, file system or library that this version does not work with."""


class MissingExtraError(PileToolsError):
    """An optional package, or the data that it needs, is not installed."""


class RemoteError(PileToolsError):
    """A server cannot be reached, fails, or has no such repository or revision."""


class DeniedError(RemoteError):
    """A server refuses (401, 403): for a signed URL perhaps because it has expired."""


class ProcessError(PileToolsError):
    """Another process of the same run died or could not go on."""


class BulkEncoderError(PileToolsError):
    """`fastokens` does not do what `tokenizers` does; the message says how."""


class NonFiniteError(PileToolsError):
    """A loss or a gradient is not finite, so a model cannot be trained or measured further."""


class DefectError(PileToolsError):
    """A result contradicts itself: a defect of pile-tools, to be reported."""


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
