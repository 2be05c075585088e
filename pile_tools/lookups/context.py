"""What stands around a match, and the document that it begins in."""

from typing import Any

import numpy as np
import pyarrow as pa

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import ParameterError
from pile_tools.lookups.decoding import Texts
from pile_tools.lookups.search import Hits
from pile_tools.stream.parts import Part
from pile_tools.stream.stream import Stream

__all__ = ["contexts", "matched_documents"]


def matched_documents(stream: Stream, hits: Hits) -> dict[str, Any]:
    """Return columns that say which document each match begins in and where that came from.

    document, offset (of the match's first token in it), source, shard, shard_row; null where not known. Of
    a blend, dataset first.
    """
    which, samples = stream.samples_at(hits.stream)
    document = np.full(len(hits), -1, np.int64)
    offset = np.full(len(hits), -1, np.int64)
    kinds = (("source", pa.string()), ("shard", pa.string()), ("row", pa.int64()))
    address: dict[str, list[Any]] = {name: [None] * len(hits) for name, _ in kinds}
    for number, part in enumerate(stream.parts):
        here = np.flatnonzero(which == number)
        if not len(here):
            continue
        document[here], offset[here] = _piece_of(part, samples[here], hits.position[here], stream.seq_length)
        provenance = part.provenance()
        known = here[document[here] >= 0]
        if provenance is None or not len(known):
            continue
        rows = provenance.lookup(document[known], [name for name, _ in kinds])
        for name, _ in kinds:
            for place, value in zip(known.tolist(), rows.column(name).to_pylist(), strict=True):
                address[name][place] = value
    columns: dict[str, Any] = {}
    if stream.parts[0].number is not None:
        columns["dataset"] = which
    columns["document"] = pa.array(document, mask=document < 0)
    columns["offset"] = pa.array(offset, mask=offset < 0)
    columns |= {"shard_row" if name == "row" else name: pa.array(address[name], kind) for name, kind in kinds}
    return columns


def _piece_of(
    part: Part, samples: Int64Array, positions: Int64Array, seq_length: int
) -> tuple[Int64Array, Int64Array]:
    """Return the document and the token of it at ``positions`` of ``samples``; −1 where not known."""
    unique, row = np.unique(samples, return_inverse=True)
    pieces = part.pieces(unique)
    begins = pieces.row * (seq_length + 1) + pieces.position
    piece = np.searchsorted(begins, row.reshape(-1) * (seq_length + 1) + positions, side="right") - 1
    document, offset = pieces.document[piece], pieces.offset[piece]
    inside = positions - pieces.position[piece]
    return document, np.where(document < 0, -1, offset + inside)


def contexts(stream: Stream, hits: Hits, lengths: list[int], context: int) -> dict[str, Any]:
    """Return the columns before, match and after: texts, null where no tokenizer is known.

    ``lengths`` are the bytes of each pattern, empty for patterns of whole tokens; before and after have up
    to ``context`` characters of the same sequence.
    """
    which, samples = stream.samples_at(hits.stream)
    texts: list[tuple[str | None, str | None, str | None]] = [(None, None, None)] * len(hits)
    for number, part in enumerate(stream.parts):
        here = np.flatnonzero(which == number)
        try:
            decoder = Texts(part) if len(here) else None
        except ParameterError:
            decoder = None
        if decoder is None:
            continue
        # Some hundred sequences at a time, each once however many matches it has.
        for block in np.array_split(here, max(1, len(here) // 512)):
            unique, row = np.unique(samples[block], return_inverse=True)
            tokens = part.tokens(unique)
            for place, sequence in zip(block.tolist(), row.reshape(-1).tolist(), strict=True):
                length = lengths[hits.pattern[place]] if lengths else None
                texts[place] = decoder.around(
                    tokens[sequence],
                    int(hits.position[place]),
                    int(hits.n_tokens[place]),
                    (int(hits.skip[place]), length),
                    context,
                )
    names = ("before", "match", "after")
    return {name: pa.array([text[place] for text in texts], pa.string()) for place, name in enumerate(names)}
