"""Read one shard and write what the rest of a deduplication needs of it: a few numbers a document."""

from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from pile_tools.algorithms.lsh import band_keys
from pile_tools.algorithms.minhash import permutations
from pile_tools.algorithms.shingle import sign_documents
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import DocumentBatch, ReadCounts, ShardReader
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.npy import NpyWriter
from pile_tools.formats.signatures import DOCUMENT
from pile_tools.stages.dedup_files import KEY_CHUNK, DedupPaths
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.pile_dedupe import sign_texts

__all__ = ["READ_BYTES", "KeyWriter", "open_reader", "sign_shard", "signed_outputs", "write_info"]

READ_BYTES = 4 << 20
"""Text that is read from a shard at once."""

_coefficients = cache(permutations)


def open_reader(shard: Shard, job: DedupJob, only_rows: NDArray[np.bool_] | None = None) -> ShardReader:
    """A reader of ``shard`` as ``job`` wants it read, the same in every pass."""
    return ShardReader(
        shard,
        text_field=job.text_field,
        source_field=job.source_field,
        on_bad_record=job.on_bad_record,
        batch_bytes=READ_BYTES,
        max_record_bytes=job.max_document_bytes,
        only_rows=only_rows,
    )


def signed_outputs(job: DedupJob, paths: DedupPaths, shard: int, *, own: bool) -> tuple[Path, ...]:
    """The files that are written for a shard, of this corpus (``own``) or of another."""
    outputs = [paths.documents(shard)]
    if job.method != "text":
        outputs.append(paths.keys(shard))
    if job.save_signatures and own:
        outputs.append(paths.signatures(shard))
    return (*outputs, paths.info(shard))


class KeyWriter:
    """Gather signatures and write their band keys in chunks of ``KEY_CHUNK`` documents."""

    def __init__(self, job: DedupJob, writer: NpyWriter) -> None:
        self._job = job
        self._writer = writer
        self._waiting: list[NDArray[np.uint32]] = []
        self._count = 0

    def append(self, signatures: NDArray[np.uint32]) -> None:
        self._waiting.append(signatures)
        self._count += len(signatures)
        if self._count >= KEY_CHUNK:
            self._write(self._count - self._count % KEY_CHUNK)

    def _write(self, count: int) -> None:
        signatures = np.concatenate(self._waiting)
        for start in range(0, count, KEY_CHUNK):
            chunk = signatures[start : min(start + KEY_CHUNK, count)]
            self._writer.append(band_keys(chunk, self._job.bands, wide=self._job.wide_keys).ravel())
        self._waiting = [signatures[count:].copy()]
        self._count -= count

    def close(self) -> None:
        if self._count:
            self._write(self._count)


def _text_hashes(batch: DocumentBatch) -> NDArray[np.uint64]:
    view = batch.text.data
    ends = batch.offsets.tolist()
    digests = b"".join(xxhash.xxh3_128_digest(view[a:b]) for a, b in pairwise(ends))
    return np.frombuffer(digests, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def _sign_batch(batch: DocumentBatch, job: DedupJob, table: NDArray[np.void]) -> NDArray[np.uint32] | None:
    """Fill in the words and hashes of documents, and return their signatures where the method has some."""
    if job.method == "text":
        table["words"] = 1  # whole texts are compared, those without words too
        table["hash"] = _text_hashes(batch)
        return None
    if job.method == "pile-dedupe":
        table["words"] = 1  # the scripts make no exception of a document without words
        return sign_texts(batch.texts(), job.num_perm, job.seed)
    coefficients = _coefficients(job.num_perm, job.seed, job.scheme)
    signed = sign_documents(batch.text, batch.offsets, job.ngram, coefficients, job.normalize)
    table["words"] = signed.words
    table["hash"] = signed.word_hashes
    return signed.signatures


def sign_shard(shard: Shard, job: DedupJob, paths: DedupPaths, index: int) -> None:
    """Write the documents, band keys and counts of ``shard`` under ``paths``, as number ``index``."""
    reader = open_reader(shard, job)
    numbers: dict[str | None, int] = {}
    with ExitStack() as stack:

        def writer(path: Path, dtype: object, row_shape: tuple[int, ...] = ()) -> NpyWriter:
            file = stack.enter_context(atomic_write(path))
            return stack.enter_context(NpyWriter(file, dtype, row_shape))  # type: ignore[arg-type]

        documents = writer(paths.documents(index), DOCUMENT)
        keys = KeyWriter(job, writer(paths.keys(index), np.uint64)) if job.method != "text" else None
        kept = writer(paths.signatures(index), np.uint32, (job.num_perm,)) if job.save_signatures else None
        for batch in reader:
            table = np.zeros(len(batch), dtype=DOCUMENT)
            table["row"] = batch.rows
            table["bytes"] = np.diff(batch.offsets)
            table["source"] = [numbers.setdefault(source, len(numbers)) for source in batch.sources]
            signatures = _sign_batch(batch, job, table)
            if keys is not None and signatures is not None:
                keys.append(signatures)
            if kept is not None and signatures is not None:
                kept.append(signatures)
            documents.append(table)
        if keys is not None:
            keys.close()
    write_info(
        paths.info(index),
        reader.counts,
        sources=list(numbers),
        skipped=[list(entry) for entry in reader.skipped],
        oversized=reader.oversized,
        first_skipped=reader.first_skipped,
    )


def write_info(path: Path, counts: ReadCounts, **more: object) -> None:
    """Write what reading a shard counted, with its source names, skipped records and oversized rows."""
    with atomic_write(path) as file:
        file.write(
            canonical_json(
                {"sources": [], "skipped": [], "oversized": [], "first_skipped": "", **asdict(counts), **more}
            )
        )
