"""Documents named by number, by source, or in a Parquet file."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance
from pile_tools.formats.sources import SourceFile
from pile_tools.formats.token_dataset import TokenDataset

__all__ = ["is_file_selection", "select_documents"]

_SOURCE = "source:"
_FILE = ".parquet"


def is_file_selection(selection: str) -> bool:
    """Return whether ``selection`` names a Parquet file, as `select_documents` reads it."""
    return selection.endswith(_FILE) and not selection.startswith(_SOURCE)


def select_documents(dataset: TokenDataset, selection: str) -> npt.NDArray[np.int64]:
    """Return the numbers of the documents of ``dataset`` that ``selection`` names, ascending, each once.

    It is numbers with commas ("42,43"), "source:NAME", or the path of a Parquet file with an integer column
    ``document``. Raises OutOfRangeError for a number that the dataset does not have and ParameterError for a
    selection of nothing.
    """
    found: npt.NDArray[Any]
    if selection.startswith(_SOURCE):
        found = _of_source(dataset, selection.removeprefix(_SOURCE))
    elif is_file_selection(selection):
        found = _of_file(Path(selection))
    elif selection and all(part.strip().isdecimal() for part in selection.split(",")):
        found = np.array([_number(part.strip(), dataset) for part in selection.split(",")], np.int64)
    else:
        raise ParameterError(
            f"{selection!r} names no documents; give numbers (42,43), source:NAME or a file.parquet"
        )
    outside = found[(found < 0) | (found >= dataset.n_sequences)]
    if len(outside):
        raise _no_document(str(outside[0]), dataset)
    if not len(found):
        raise ParameterError(f"{selection}: names no document of {dataset.name}")
    return np.unique(found).astype(np.int64)


def _number(digits: str, dataset: TokenDataset) -> int:
    digits = digits.lstrip("0") or "0"
    # Longer ones are no int64, and Python itself refuses to read thousands of digits.
    if len(digits) > 18:
        raise _no_document(digits if len(digits) < 50 else f"{digits[:50]}…", dataset)
    return int(digits)


def _no_document(number: str, dataset: TokenDataset) -> OutOfRangeError:
    return OutOfRangeError(f"{dataset.name}: no document {number}; there are {dataset.n_sequences}, from 0")


def _of_source(dataset: TokenDataset, source: str) -> npt.NDArray[np.int64]:
    path = dataset.store.path
    if path is None or not (path / PROVENANCE_NAME).is_file():
        raise PileToolsError(
            f"{dataset.store.name}/{PROVENANCE_NAME}: not here, so sources of documents are not known; "
            "name documents by number"
        )
    file: Any = SourceFile(dataset.open_beside(PROVENANCE_NAME))
    provenance = Provenance(file, str(path / PROVENANCE_NAME))
    found: list[npt.NDArray[np.int64]] = []
    known: set[str | None] = set()
    first = 0
    for table in provenance.tables(["source"]):
        names = table.column("source").cast(pa.string())
        known.update(names.unique().to_pylist())
        found.append(first + np.flatnonzero(np.asarray(names.to_numpy(zero_copy_only=False)) == source))
        first += table.num_rows
    if source not in known:
        names_known = ", ".join(sorted(str(name) for name in known)[:20])
        raise ParameterError(f"{provenance.name}: no source {source!r}; there are {names_known}")
    return np.concatenate(found)


def _of_file(path: Path) -> npt.NDArray[Any]:
    try:
        column = pq.read_table(path, columns=["document"]).column("document")
    except FileNotFoundError:
        raise PileToolsError(f"{path}: no such file") from None
    except (pa.ArrowException, KeyError, IndexError):
        raise DataError(f"{path}: not a Parquet file with a column `document`") from None
    if not pa.types.is_integer(column.type) or column.null_count:
        raise DataError(f"{path}: column `document` holds {column.type} or nulls, not document numbers")
    return column.to_numpy().astype(np.uint64 if pa.types.is_unsigned_integer(column.type) else np.int64)  # type: ignore[no-any-return]
