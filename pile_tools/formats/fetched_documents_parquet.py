"""``documents-D.parquet``: the documents that some steps of a stream show, and where they came from.

=========  ==========================  ====================================================================
shard      dictionary<string> or null  its address, as in ``documents.parquet`` of its dataset; null where
row        int64 or null               that is not known
source     dictionary<string> or null
n_tokens   int32                       its tokens in its dataset
document   int64                       its number in its dataset, ascending
=========  ==========================  ====================================================================
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pile_tools.errors import DataError, OutOfRangeError
from pile_tools.formats.documents_parquet import Provenance, integers

__all__ = ["ORIGIN_SCHEMA", "OriginDocuments"]

_NAMES = pa.dictionary(pa.int32(), pa.string())
ORIGIN_SCHEMA: Final = pa.schema(
    [
        pa.field("shard", _NAMES),
        pa.field("row", pa.int64()),
        pa.field("source", _NAMES),
        pa.field("n_tokens", pa.int32(), nullable=False),
        pa.field("document", pa.int64(), nullable=False),
    ]
)


class OriginDocuments(Provenance):
    """Read ``documents-D.parquet`` by document number, as ``Provenance`` does where all documents have a row.

    ``lookup`` raises OutOfRangeError for a document that has none.
    """

    _schema = ORIGIN_SCHEMA

    def _find(self, documents: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        # The statistics of a row group name its last document, so that only the groups in question are read.
        lasts = np.empty(self._file.metadata.num_row_groups, np.int64)
        for group in range(len(lasts)):
            statistics = self._statistics(group, "document")
            if statistics is None:
                raise DataError(f"{self.name}: no statistics of its documents; fetch the steps again")
            lasts[group] = statistics.max
        groups = np.searchsorted(lasts, documents)
        rows = np.zeros_like(documents)
        for group in np.unique(groups).tolist():
            here = np.flatnonzero(groups == group)
            numbers = np.empty(0, np.int64)
            if group < len(lasts):
                numbers = integers(self._group(group, ("document",)), "document")
            rows[here] = np.searchsorted(numbers, documents[here])
            is_there = rows[here] < len(numbers)
            is_there[is_there] = numbers[rows[here[is_there]]] == documents[here[is_there]]
            if not is_there.all():
                missing = documents[here[~is_there]][0]
                raise OutOfRangeError(f"{self.name}: document {missing} is shown by none of the steps here")
        return groups, rows

    def _number(self, group: int, row: int) -> int:
        return int(integers(self._group(group, ("document",)), "document")[row])
