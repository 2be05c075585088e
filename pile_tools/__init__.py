"""pile-tools: exactly what a language model had read by step N, and where it came from."""

from typing import TYPE_CHECKING

from pile_tools.errors import (
    BusyError,
    ChangedError,
    DataError,
    DefectError,
    DeniedError,
    EmptyError,
    FileAccessError,
    MismatchError,
    MissingExtraError,
    MissingFileError,
    MissingStreamError,
    NoDocumentError,
    NonFiniteError,
    OccupiedError,
    OutOfRangeError,
    ParameterError,
    PileToolsError,
    ProcessError,
    RecordsError,
    RemoteError,
    UnanswerableError,
    UnfinishedError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from pile_tools.api import (
        dedup,
        diff,
        digest,
        intervene,
        make_order,
        open_suite,
        token_losses,
        tokenize,
        verify,
    )
    from pile_tools.viewer import BatchViewer

__version__ = "0.1.0"

__all__ = [
    "BatchViewer",
    "BusyError",
    "ChangedError",
    "DataError",
    "DefectError",
    "DeniedError",
    "EmptyError",
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
    "UnanswerableError",
    "UnfinishedError",
    "UnsupportedError",
    "__version__",
    "dedup",
    "diff",
    "digest",
    "intervene",
    "make_order",
    "open_suite",
    "token_losses",
    "tokenize",
    "verify",
]


def __getattr__(name: str) -> object:
    # Resolved on first use, so that `import pile_tools` loads no Arrow and no numba.
    if name == "BatchViewer":
        from pile_tools.viewer import BatchViewer

        return BatchViewer
    if name in __all__:
        from pile_tools import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
