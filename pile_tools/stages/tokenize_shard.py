"""One task of `tokenize`: the documents of one shard to a part of the token dataset."""

from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pile_tools.errors import DataError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import BadRecordPolicy, DocumentBatch, ShardReader
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.provenance import ProvenanceWriter, provenance_table, text_digest
from pile_tools.formats.tokenizer import TokenizerFile
from pile_tools.stages.tokenize_encoder import ReferenceEncoder

__all__ = ["Encoding", "Part", "PartSummary", "tokenize_shard"]

# A size in the index is an int32.
_MAX_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """How documents become tokens: the same for all shards of a job.

    ``eod`` is the id put after each document, None for none; ``dtype`` the NumPy name of the tokens'.
    ``skip_empty`` passes over documents whose text is empty.
    """

    tokenizer: TokenizerFile
    eod: int | None
    dtype: str
    text_field: str
    source_field: str
    on_bad_record: BadRecordPolicy
    skip_empty: bool


@dataclass(frozen=True, slots=True)
class Part:
    """The work files of one shard: its tokens, its rows of ``documents.parquet``, and what was counted.

    The counts are written last: where they exist the part is complete.
    """

    tokens: Path
    documents: Path
    summary: Path

    @classmethod
    def of(cls, work: Path, number: int) -> "Part":
        return cls(*(work / f"part-{number:06d}.{suffix}" for suffix in ("bin", "parquet", "json")))

    def read_summary(self) -> "PartSummary":
        return PartSummary(**orjson.loads(self.summary.read_bytes()))


@dataclass(slots=True)
class PartSummary:
    """What one shard gave.

    ``eod_inside`` counts EOD tokens that a text itself held; ``read`` holds `ReadCounts`; ``sources``
    the documents, text bytes and tokens of each source (None where records name none).
    """

    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    token_bytes: int = 0
    empty_documents: int = 0
    eod_inside: int = 0
    max_id: int = -1
    read: dict[str, int] = field(default_factory=dict)
    sources: list[dict[str, Any]] = field(default_factory=list)


def tokenize_shard(shard: Shard, encoding: Encoding, part: Part) -> None:
    """Encode the documents of ``shard`` and publish ``part``, whole."""
    reader = ShardReader(
        shard,
        text_field=encoding.text_field,
        source_field=encoding.source_field,
        on_bad_record=encoding.on_bad_record,
    )
    encoder = ReferenceEncoder(encoding.tokenizer)
    summary = PartSummary()
    by_source: dict[str | None, list[int]] = {}
    with (
        atomic_write(part.tokens) as token_file,
        atomic_write(part.documents) as document_file,
        ProvenanceWriter(document_file) as provenance,
    ):
        for batch in reader:
            batch = _without_empty(batch, summary, skip=encoding.skip_empty)
            tokens, sizes = _encode(batch, encoding, encoder, shard, summary)
            token_file.write(tokens.data)
            text = batch.text.tobytes()
            bounds = batch.offsets.tolist()
            digests = [text_digest(text[a:b]) for a, b in pairwise(bounds)]
            provenance.write(provenance_table(shard.name, batch.rows, batch.sources, sizes, digests))
            _count(by_source, batch, sizes)
            summary.documents += len(batch)
            summary.text_bytes += len(text)
            summary.tokens += len(tokens)
            summary.token_bytes += tokens.nbytes
    summary.read = asdict(reader.counts)
    summary.sources = [
        {"source": name, "documents": counts[0], "bytes": counts[1], "tokens": counts[2]}
        for name, counts in sorted(by_source.items(), key=lambda item: (item[0] is not None, item[0] or ""))
    ]
    with atomic_write(part.summary) as file:
        file.write(canonical_json(asdict(summary)))


def _without_empty(batch: DocumentBatch, summary: PartSummary, *, skip: bool) -> DocumentBatch:
    empty = np.diff(batch.offsets) == 0
    summary.empty_documents += int(empty.sum())
    if not skip or not empty.any():
        return batch
    # Empty texts have no bytes, so the others' stay where they are.
    offsets = np.concatenate([batch.offsets[:-1][~empty], batch.offsets[-1:]])
    sources = [source for source, drop in zip(batch.sources, empty, strict=True) if not drop]
    return DocumentBatch(batch.rows[~empty], batch.text, offsets, sources)


def _encode(
    batch: DocumentBatch, encoding: Encoding, encoder: ReferenceEncoder, shard: Shard, summary: PartSummary
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Tokens of the batch with EOD put in, in the written dtype; and the size of each document."""
    ids, sizes = encoder.encode(batch.texts())
    if encoding.eod is not None:
        summary.eod_inside += int(np.count_nonzero(ids == encoding.eod))
        sizes += 1
    too_long = np.flatnonzero(sizes > _MAX_TOKENS)
    if len(too_long):
        place = int(too_long[0])
        raise DataError(
            f"{shard.path}:{batch.rows[place]}: {sizes[place]} tokens, but a document of a token dataset has "
            f"at most {_MAX_TOKENS}; split it"
        )
    dtype = np.dtype(encoding.dtype)
    largest = int(ids.max(initial=0))
    if largest > np.iinfo(dtype).max or largest > encoding.tokenizer.max_id:
        raise DataError(
            f"{shard.path}: the tokenizer gave the id {largest}, but its vocabulary ends at "
            f"{encoding.tokenizer.max_id} and the dataset is {dtype.name}"
        )
    if len(ids):
        summary.max_id = max(summary.max_id, largest)
    if encoding.eod is None:
        return ids.astype(dtype), sizes
    summary.max_id = max(summary.max_id, encoding.eod)
    tokens = np.empty(len(ids) + len(sizes), dtype)
    ends = np.cumsum(sizes) - 1
    inside = np.ones(len(tokens), np.bool_)
    inside[ends] = False
    tokens[inside] = ids
    tokens[ends] = encoding.eod
    return tokens, sizes


def _count(by_source: dict[str | None, list[int]], batch: DocumentBatch, sizes: NDArray[np.int64]) -> None:
    lengths = np.diff(batch.offsets)
    for source, length, size in zip(batch.sources, lengths.tolist(), sizes.tolist(), strict=True):
        counts = by_source.setdefault(source, [0, 0, 0])
        counts[0] += 1
        counts[1] += length
        counts[2] += size
