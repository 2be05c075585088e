"""Checks of a token dataset: its format, its tokens, its provenance and its tokenizer."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pile_tools.errors import DataError
from pile_tools.formats.documents_parquet import PROVENANCE_NAME, Provenance, integers
from pile_tools.formats.mmidx import check_index
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.tokenizer import TOKENIZER_NAME, read_tokenizer
from pile_tools.jobs.progress import Progress
from pile_tools.storage.manifest import MANIFEST_NAME, Manifest

__all__ = ["check_provenance", "check_tokenizer", "check_tokens"]

_BLOCK_TOKENS = 1 << 24
_BLOCK_SIZES = 1 << 20


def check_tokens(directory: Path, progress: Progress) -> str:
    """Check every number of the index, the length of the data, and every token.

    Where `pile-tools tokenize` made the dataset: that dtype, counts and largest id are those of the
    manifest, and that each document ends in EOD where that was appended.
    """
    return "; ".join(_check_dataset(path, progress) for path in sorted(directory.glob("*.idx")))


def _check_dataset(path: Path, progress: Progress) -> str:
    dataset = TokenDataset.open(path)
    check_index(dataset.index)
    manifest = dataset.manifest
    eod = None if manifest is None else manifest.parameters["eod_id"]
    largest = _scan(dataset, eod, progress)
    if manifest is not None:
        counts, parameters = manifest.counts, manifest.parameters
        for what, found, written in (
            ("documents", dataset.n_sequences, counts["documents"]),
            ("tokens", dataset.n_tokens, counts["tokens"]),
            ("as dtype", dataset.dtype.name, parameters["dtype"]),
            ("as largest id", largest, counts["max_id"]),
        ):
            if found != written:
                raise DataError(
                    f"{path}: {found} {what}, but {MANIFEST_NAME} says {written}; make {path.parent} again"
                )
    kind = "sequences" if manifest is None else "documents"
    return f"{dataset.n_sequences:,} {kind}, {dataset.n_tokens:,} tokens, largest id {largest}"


def _scan(dataset: TokenDataset, eod: int | None, progress: Progress) -> int:
    """Return the largest id; DataError for a negative one and for a document that does not end in EOD."""
    largest, done = -1, 0
    for first, sizes in _blocks_of_sizes(dataset):
        ends = done + np.cumsum(sizes)
        if eod is not None and not sizes.all():
            document = first + int(np.flatnonzero(sizes == 0)[0])
            raise DataError(f"{dataset.index_name}: document {document} has no tokens, not even EOD")
        stop = int(ends[-1])
        for start in range(done, stop, _BLOCK_TOKENS):
            tokens = _tokens(dataset, start, min(start + _BLOCK_TOKENS, stop))
            if tokens.min() < 0:
                place = start + int(np.flatnonzero(tokens < 0)[0])
                raise DataError(f"{dataset.name}: token {place} is {tokens.min()}; the data is damaged")
            largest = max(largest, int(tokens.max()))
            if eod is not None:
                low, high = np.searchsorted(ends, [start + 1, start + len(tokens) + 1])
                wrong = np.flatnonzero(tokens[ends[low:high] - 1 - start] != eod)
                if len(wrong):
                    document = first + int(low + wrong[0])
                    raise DataError(
                        f"{dataset.name}: document {document} does not end in EOD ({eod}); it is damaged"
                    )
            progress("tokens", start + len(tokens), dataset.n_tokens)
        done = stop
    return largest


def _blocks_of_sizes(dataset: TokenDataset) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for first in range(0, dataset.n_sequences, _BLOCK_SIZES):
        yield first, dataset.index.sizes[first : first + _BLOCK_SIZES].astype(np.int64)


def _tokens(dataset: TokenDataset, start: int, stop: int) -> NDArray[Any]:
    """Tokens [start, stop) of the data, which may lie in several shards."""
    itemsize = dataset.dtype.itemsize
    return dataset.read(
        np.array([start * itemsize], np.int64), np.array([(stop - start) * itemsize], np.int64)
    ).view(dataset.dtype)


def check_provenance(directory: Path, progress: Progress) -> str:
    """Check that ``documents.parquet`` has a row for each document, with its size, in the corpus's order."""
    path = directory / PROVENANCE_NAME
    dataset, manifest = TokenDataset.open(directory), Manifest.read(directory)
    provenance = Provenance(path)
    if len(provenance) != dataset.n_sequences:
        raise DataError(
            f"{path}: {len(provenance)} rows, but the token dataset has {dataset.n_sequences} documents"
        )
    found: dict[str, int] = {}
    document, current, last = 0, None, -1
    for shard, rows, n_tokens in _runs(provenance):
        sizes = dataset.index.sizes[document : document + len(rows)]
        wrong = np.flatnonzero(n_tokens != sizes)
        if len(wrong):
            place = int(wrong[0])
            raise DataError(
                f"{path}: document {document + place} has {n_tokens[place]} tokens there, but {sizes[place]} "
                f"in {dataset.prefix}.idx"
            )
        if shard != current:
            current, last = shard, -1
            if shard in found:
                raise DataError(f"{path}: {shard} begins again at document {document}")
        if np.any(np.diff(rows, prepend=last) <= 0):
            raise DataError(f"{path}: the rows of {shard} do not rise, near document {document}")
        found[shard] = found.get(shard, 0) + len(rows)
        document, last = document + len(rows), int(rows[-1])
    expected = {entry.name: entry.documents for entry in manifest.inputs if entry.documents}
    for (one, count), (other, written) in zip(found.items(), expected.items(), strict=False):
        if (one, count) != (other, written):
            raise DataError(
                f"{path}: {count} documents of {one}, but {MANIFEST_NAME} says {written} of {other} there"
            )
    if len(found) != len(expected):
        raise DataError(
            f"{path}: {len(found)} shards, but {MANIFEST_NAME} has {len(expected)} with documents"
        )
    return f"{document:,} rows, from {len(found):,} shards"


def _runs(provenance: Provenance) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int32]]]:
    """Shard, rows and sizes of documents that follow one another and are of one shard."""
    for table in provenance.tables(("shard", "row", "n_tokens")):
        rows, sizes = integers(table, "row"), integers(table, "n_tokens")
        shards = table.column("shard").combine_chunks()
        codes = shards.indices.to_numpy()
        bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        for start, stop in pairwise(bounds):
            yield shards.dictionary[int(codes[start])].as_py(), rows[start:stop], sizes[start:stop]


def check_tokenizer(directory: Path, progress: Progress) -> str:
    """Check that ``tokenizer.json`` is the one of the manifest and that ids and EOD are its own."""
    manifest = Manifest.read(directory)
    parameters = manifest.parameters
    tokenizer = read_tokenizer(str(directory / TOKENIZER_NAME), allow_id_gaps=True)
    eod = parameters["eod_token"]
    for what, found, written in (
        ("SHA-256", tokenizer.sha256, parameters["tokenizer"]["sha256"]),
        ("vocabulary", tokenizer.vocab_size, parameters["vocab_size"]),
        ("largest id", tokenizer.max_id, parameters["max_id"]),
        ("EOD id", None if eod is None else tokenizer.load().token_to_id(eod), parameters["eod_id"]),
    ):
        if found != written:
            raise DataError(f"{tokenizer.path}: {what} {found}, but {MANIFEST_NAME} says {written}")
    if manifest.counts["max_id"] > tokenizer.max_id:
        raise DataError(
            f"{directory / MANIFEST_NAME}: the data has the id {manifest.counts['max_id']}, but the largest "
            f"of the tokenizer is {tokenizer.max_id}"
        )
    return f"{parameters['tokenizer']['name']}, {tokenizer.vocab_size:,} ids"
