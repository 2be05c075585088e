"""Check of the origins of fetched steps: that every piece is of a document that is described."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.orders.piece_lists import check_listed, check_starts
from pile_tools.errors import DataError
from pile_tools.formats.documents_parquet import integers
from pile_tools.formats.fetched_documents_parquet import OriginDocuments
from pile_tools.formats.order_json import ORDER_NAME, OrderRecord, parse_record
from pile_tools.formats.origins_json import ORIGINS_NAME, OriginFiles, documents_name
from pile_tools.jobs.progress import Progress
from pile_tools.storage.store import LocalStore

__all__ = ["check_origins", "has_origins"]


def has_origins(directory: Path) -> bool:
    """Whether there are origins, or an order that names them."""
    if (directory / ORIGINS_NAME).is_file():
        return True
    path = directory / ORDER_NAME
    record = parse_record(path.read_bytes(), str(path)) if path.is_file() else None
    return isinstance(record, OrderRecord) and record.origins is not None


def check_origins(directory: Path, progress: Progress) -> str:
    """Check the pieces of all sequences, and that the tables describe the documents that they are of."""
    path = directory / ORDER_NAME
    order = parse_record(path.read_bytes(), str(path)) if path.is_file() else None
    if not isinstance(order, OrderRecord) or order.origins is None:
        raise DataError(f"{path}: missing, or does not name {ORIGINS_NAME}; fetch the steps again")
    files = OriginFiles(LocalStore(directory), order.origins, order.sequences)
    starts, pieces = files.starts.whole(), files.pieces.whole()
    check_starts(files.starts.source.name, starts, len(pieces))
    check_listed(files.pieces.source.name, np.diff(starts), pieces, None, order.seq_length + 1)
    datasets = np.zeros(len(starts) - 1, np.int16) if files.datasets is None else files.datasets.whole()
    of_piece = np.repeat(datasets, np.diff(starts))
    described = 0
    for number, dataset in enumerate(files.record.datasets):
        path = directory / documents_name(number)
        mine = pieces[of_piece == number]
        if files.record.entry(path.name) is None:
            if dataset.documents is not None or np.any(mine[:, 0] >= 0):
                raise DataError(f"{files.name}: does not name {path.name}; fetch the steps again")
            continue
        numbers, sizes = _documents(path)
        described += len(numbers)
        shown, place = np.unique(mine[:, 0], return_inverse=True)
        if (
            not np.array_equal(shown, numbers)
            or (len(numbers) and numbers[-1] >= (dataset.documents or 0))
            or np.any(mine[:, 1].astype(np.int64) + mine[:, 2] > sizes[place.reshape(-1)])
        ):
            raise DataError(f"{path}: not the documents that the pieces are of; fetch the steps again")
    if np.any((datasets < 0) | (datasets >= len(files.record.datasets))):
        raise DataError(f"{files.name}: a sequence of a dataset that it does not list; fetch the steps again")
    return f"{len(pieces):,} pieces of {described:,} documents"


def _documents(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return numbers and sizes of the documents in the table at ``path``."""
    tables = list(OriginDocuments(path).tables(["document", "n_tokens"]))
    columns = [
        np.concatenate([np.empty(0, np.int64), *(integers(table, name) for table in tables)])
        for name in ("document", "n_tokens")
    ]
    return columns[0].astype(np.int64), columns[1].astype(np.int64)
