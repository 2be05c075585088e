"""Which document and source the beginning of each sequence of a step is from, and which part of it."""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from pile_tools.viewer import BatchViewer

__all__ = ["ORIGIN_FIELDS", "origin_columns"]

ORIGIN_FIELDS: Final = (
    pa.field("document", pa.int64()),
    pa.field("offset", pa.int64()),
    pa.field("n_tokens", pa.int64()),
    pa.field("source", pa.dictionary(pa.int32(), pa.string())),
)


def origin_columns(viewer: BatchViewer, step: int, n_tokens: int) -> list[Any]:
    """Return document, offset, n_tokens and source of each row of ``step``.

    The document is that of most of its first ``n_tokens`` tokens, the first of equals; offset is where its
    part of them begins in it, and n_tokens the length of that. Null where boundaries of documents or their
    sources are not known.
    """
    documents: list[int | None] = []
    offsets: list[int | None] = []
    lengths: list[int | None] = []
    sources: list[str | None] = []
    for row in range(viewer.batch_size):
        pieces = viewer.trace(step, row)
        positions = pieces.column("position").to_numpy()
        stops = np.minimum(positions + pieces.column("n_tokens").to_numpy(), n_tokens)
        most = int(np.argmax(stops - positions))
        documents.append(pieces.column("document")[most].as_py())
        offsets.append(pieces.column("offset")[most].as_py())
        lengths.append(None if documents[-1] is None else int((stops - positions)[most]))
        sources.append(pieces.column("source")[most].as_py())
    return [
        pa.array(documents, pa.int64()),
        pa.array(offsets, pa.int64()),
        pa.array(lengths, pa.int64()),
        pa.array(sources, pa.string()).dictionary_encode(),
    ]
