"""One task of `tokenize`: the documents of one shard to a part of the token dataset."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pile_tools.errors import DataError, RecordsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import BadRecordPolicy, DocumentBatch, ShardReader
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.provenance import ProvenanceWriter, provenance_table, text_digest
from pile_tools.formats.tokenizer import TokenizerFile
from pile_tools.stages.tokenize_encoder import (
    DIFFERS,
    BulkEncoderError,
    Encoded,
    EncoderName,
    Judge,
    bulk_encoder,
    reference_encoder,
)

__all__ = ["Encoding", "Part", "PartSummary", "tokenize_shard"]

# A size in the index is an int32.
_MAX_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """How documents become tokens: the same for all shards of a job.

    ``eod`` is the id put after each document, None for none; ``dtype`` the NumPy name of the tokens'.
    ``skip_empty`` passes over documents whose text is empty; a record of more than ``max_document_bytes``
    is a bad record, since what is held in memory grows with it. ``threads`` is how many a worker process
    encodes with, None for one for each core.
    """

    tokenizer: TokenizerFile
    eod: int | None
    dtype: str
    text_field: str
    source_field: str
    on_bad_record: BadRecordPolicy
    skip_empty: bool
    max_document_bytes: int
    encoder: EncoderName = "tokenizers"
    encoder_version: str = ""
    threads: int | None = None

    @property
    def label(self) -> str:
        """Name and version of the encoder: parts by two versions of it are never joined."""
        return f"{self.encoder} {self.encoder_version}"


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

    ``encoder`` is the label of what encoded it, ``judged_documents`` how many of them were judged.
    ``eod_inside`` counts EOD tokens that a text itself held; ``read`` holds `ReadCounts`, ``first_skipped``
    says what is wrong with the first record that was skipped; ``sources``
    the documents, text bytes and tokens of each source ("" where records name none).
    """

    encoder: str
    judged_documents: int = 0
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    token_bytes: int = 0
    empty_documents: int = 0
    eod_inside: int = 0
    max_id: int = -1
    read: dict[str, int] = field(default_factory=dict)
    first_skipped: str = ""
    sources: dict[str, dict[str, int]] = field(default_factory=dict)


def tokenize_shard(shard: Shard, encoding: Encoding, part: Part) -> None:
    """Encode the documents of ``shard`` and publish ``part``, whole.

    Raises BulkEncoderError where the encoder is fastokens and is not fit for these documents.
    """
    reader = ShardReader(
        shard,
        text_field=encoding.text_field,
        source_field=encoding.source_field,
        on_bad_record=encoding.on_bad_record,
        max_record_bytes=encoding.max_document_bytes,
    )
    _limit_threads(encoding.threads)
    encode = _encoder(shard, encoding)
    summary = PartSummary(encoding.label)
    with (
        atomic_write(part.tokens) as token_file,
        atomic_write(part.documents) as document_file,
        ProvenanceWriter(document_file) as provenance,
    ):
        for batch in _read_ahead(iter(reader)):
            batch = _without_empty(batch, summary, skip=encoding.skip_empty)
            ids, counts = encode(batch, summary)
            tokens, sizes = _with_eod(ids, counts, batch, encoding, shard, summary)
            token_file.write(tokens.data)
            text = batch.text.tobytes()
            bounds = batch.offsets.tolist()
            digests = [text_digest(text[a:b]) for a, b in pairwise(bounds)]
            provenance.write(provenance_table(shard.name, batch.rows, batch.sources, sizes, digests))
            _count(summary.sources, batch, sizes)
            summary.documents += len(batch)
            summary.text_bytes += len(text)
            summary.tokens += len(tokens)
            summary.token_bytes += tokens.nbytes
        _refuse_oversized(reader, encoding)
    summary.read = asdict(reader.counts)
    summary.first_skipped = reader.first_skipped
    with atomic_write(part.summary) as file:
        file.write(canonical_json(asdict(summary)))


def _refuse_oversized(reader: ShardReader, encoding: Encoding) -> None:
    if reader.oversized and encoding.on_bad_record == "error":
        raise RecordsError(
            f"{reader.shard.path}:{reader.oversized[0]}: a record of more than {encoding.max_document_bytes} "
            "bytes; raise `--max-document-bytes` (memory grows by some 16 times as much), or pass over such "
            "records with `--on-bad-record skip`"
        )


def _limit_threads(threads: int | None) -> None:
    # Read when the encoders start their threads, so it must be set before; never in the caller's process.
    if threads is not None and multiprocessing.parent_process() is not None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))


def _read_ahead(batches: Iterator[DocumentBatch]) -> Iterator[DocumentBatch]:
    """Yield ``batches``, reading each in a thread while the one before is encoded."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, batches, None)
        while (batch := future.result()) is not None:
            future = pool.submit(next, batches, None)
            yield batch


def _without_empty(batch: DocumentBatch, summary: PartSummary, *, skip: bool) -> DocumentBatch:
    empty = np.diff(batch.offsets) == 0
    summary.empty_documents += int(empty.sum())
    if not skip or not empty.any():
        return batch
    # Empty texts have no bytes, so the others' stay where they are.
    offsets = np.concatenate([batch.offsets[:-1][~empty], batch.offsets[-1:]])
    sources = [source for source, drop in zip(batch.sources, empty, strict=True) if not drop]
    return DocumentBatch(batch.rows[~empty], batch.text, offsets, sources)


def _encoder(shard: Shard, encoding: Encoding) -> Callable[[DocumentBatch, PartSummary], Encoded]:
    """The function that encodes the batches of ``shard``, in order."""
    reference = reference_encoder(encoding.tokenizer)
    if encoding.encoder == "tokenizers":
        return lambda batch, summary: reference.encode(batch.texts())
    bulk = bulk_encoder(encoding.tokenizer)
    judge = Judge(bulk, reference)

    def encode(batch: DocumentBatch, summary: PartSummary) -> Encoded:
        texts = batch.texts()
        encoded = bulk.encode(texts)
        place = judge.first_difference(texts, encoded)
        if place is not None:
            raise BulkEncoderError(f"{shard.path}:{batch.rows[place]}: {DIFFERS}")
        summary.judged_documents = judge.judged
        return encoded

    return encode


def _with_eod(
    ids: NDArray[np.uint32],
    counts: NDArray[np.int64],
    batch: DocumentBatch,
    encoding: Encoding,
    shard: Shard,
    summary: PartSummary,
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Tokens of the batch with EOD put in, in the written dtype; and the size of each document."""
    sizes = counts + (encoding.eod is not None)
    if encoding.eod is not None:
        summary.eod_inside += int(np.count_nonzero(ids == encoding.eod))
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


def _count(sources: dict[str, dict[str, int]], batch: DocumentBatch, sizes: NDArray[np.int64]) -> None:
    lengths = np.diff(batch.offsets)
    for source, length, size in zip(batch.sources, lengths.tolist(), sizes.tolist(), strict=True):
        counts = sources.setdefault(source or "", {"documents": 0, "bytes": 0, "tokens": 0})
        counts["documents"] += 1
        counts["bytes"] += length
        counts["tokens"] += size
