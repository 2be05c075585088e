"""Proof of the index maps of an order: its record's SHA-256, and that they are an order of its documents."""

import functools
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.check_maps import (
    check_doc_idx,
    check_sample_idx,
    check_shuffle_idx,
    first_repeated_read,
)
from pile_tools.errors import DataError
from pile_tools.formats.manifest import FileEntry
from pile_tools.formats.order_files import OrderMaps, OrderPlace
from pile_tools.formats.proofs import Advance, Claim
from pile_tools.formats.recorded_files import hash_claim
from pile_tools.formats.sources import ArrayView, MappedFile
from pile_tools.formats.token_dataset import TokenDataset

__all__ = ["ReadSamples", "order_claims"]

_REMEDY: Final = "restore it, or make the order again"
Int64Array = npt.NDArray[np.int64]
Whole = Callable[[ArrayView], npt.NDArray[Any]]


def order_claims(
    dataset: TokenDataset,
    place: OrderPlace,
    maps: OrderMaps,
    seq_length: int,
    arrays: Whole | None = None,
) -> list[Claim]:
    """Return what is to be proved before the order at ``place`` is believed.

    Its arrays are those that its record lists, doc_idx holds the documents that it draws on equally often,
    sample_idx cuts them every ``seq_length`` tokens, and shuffle_idx is a permutation. ``arrays`` returns a
    whole array, by default by reading it; sizes behind a URL are left out unless it is given.
    """
    whole = arrays or functools.cache(ArrayView.whole)
    claims = [_documents(dataset, place, maps, whole)]
    if arrays is not None or not dataset.is_remote:
        claims.append(_cuts(dataset, place, maps, seq_length, whole))
    claims.append(_permutation(place, maps, whole))
    if place.record is not None:
        views = (maps.doc_idx, maps.sample_idx, maps.shuffle_idx)
        for view, entry in zip(views, place.record.files, strict=True):
            reads_file = arrays is None or isinstance(view.source, MappedFile)
            claims.append(
                hash_claim(view.source, entry, _REMEDY) if reads_file else _array_claim(view, entry, whole)
            )
    return claims + dataset.index_claims()


def _documents(dataset: TokenDataset, place: OrderPlace, maps: OrderMaps, whole: Whole) -> Claim:
    drawn, n_documents = place.drawn_documents(dataset.n_sequences), dataset.n_sequences

    def check(advance: Advance) -> None:
        with _named(place):
            check_doc_idx(
                whole(maps.doc_idx),
                n_documents,
                documents=drawn.documents,
                part=drawn.part,
                epochs=drawn.epochs,
                advance=advance,
            )

    value = f"{drawn.documents} {drawn.part} of {n_documents}, times {drawn.epochs}"
    return Claim(maps.doc_idx.source, "documents", value, check, maps.doc_idx.n_bytes)


def _cuts(dataset: TokenDataset, place: OrderPlace, maps: OrderMaps, seq_length: int, whole: Whole) -> Claim:
    def check(advance: Advance) -> None:
        with _named(place):
            sizes, doc_idx, sample_idx = map(whole, (dataset.sizes, maps.doc_idx, maps.sample_idx))
            check_sample_idx(sizes, doc_idx, seq_length, sample_idx, advance)

    others = (maps.doc_idx.source, dataset.sizes.source)
    value = f"every {seq_length} tokens"
    return Claim(maps.sample_idx.source, "cuts", value, check, maps.sample_idx.n_bytes, others)


def _permutation(place: OrderPlace, maps: OrderMaps, whole: Whole) -> Claim:
    n_samples = len(maps.sample_idx) - 1

    def check(advance: Advance) -> None:
        with _named(place):
            check_shuffle_idx(whole(maps.shuffle_idx), n_samples, advance)

    source = maps.shuffle_idx.source
    return Claim(source, "permutation", str(n_samples), check, maps.shuffle_idx.n_bytes)


@contextmanager
def _named(place: OrderPlace) -> Iterator[None]:
    """Name the order in a DataError of the block."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{place.name}: {error}; the order is damaged or of another dataset") from None


def _array_claim(view: ArrayView, entry: FileEntry, whole: Callable[[ArrayView], npt.NDArray[Any]]) -> Claim:
    """Return the claim that a file, whose array was read already, is the one that a record lists."""

    def check(advance: Advance) -> None:
        state = hashlib.sha256(view.header)
        state.update(np.ascontiguousarray(whole(view)).data)
        advance(view.n_bytes)
        if state.hexdigest() != entry.sha256:
            raise DataError(
                f"{view.source.name}: SHA-256 {state.hexdigest()[:12]}…, but {entry.sha256[:12]}… was "
                f"recorded; {_REMEDY}"
            )

    return Claim(view.source, "sha256", entry.sha256, check, view.n_bytes)


class ReadSamples:
    """The samples that were read of an order of ``n_samples``, so that one that is shown twice is seen.

    Two bits for each sample, of which only the pages are in memory that were touched.
    """

    def __init__(self, name: str, n_samples: int, array: str = "shuffle_idx") -> None:
        self._name = f"{name}: {array}"
        n_bytes = (n_samples + 7) // 8
        self._positions = np.zeros(n_bytes, np.uint8)
        self._samples = np.zeros(n_bytes, np.uint8)
        self._lock = threading.Lock()

    def add(self, positions: Int64Array, samples: Int64Array) -> None:
        """Note that ``positions`` show ``samples``, int64[n] each; DataError where another one showed it."""
        with self._lock:
            index = int(first_repeated_read(positions, samples, self._positions, self._samples))
        if index >= 0:
            raise DataError(
                f"{self._name} holds {samples[index]} at place {positions[index]} and at another that was "
                "read before; it is no permutation"
            )
