"""Components: one token dataset in one order. A stream is one component, or a blend of several.

What is mapped is read by compiled code in place; for anything else the few entries that a batch needs
are taken from each array first, and then the same code runs on those.
"""

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.locate import Pieces, check_pointers, check_samples, copy_pieces, locate
from pile_tools.errors import DataError
from pile_tools.formats.order_files import OrderMaps, OrderPlace
from pile_tools.formats.order_record import OrderRecord
from pile_tools.formats.sources import MappedFile
from pile_tools.formats.token_dataset import TokenDataset, sampled_sha256
from pile_tools.lookups.places import document_places
from pile_tools.viewer.order_proof import ReadSamples, order_claims

__all__ = ["UNKNOWN", "Component", "MapsComponent", "SequentialComponent", "read_pieces"]

Int64Array = npt.NDArray[np.int64]
Tokens = npt.NDArray[Any]

UNKNOWN: Final = -1
"""Stands for a document, or an offset in one, that is not known."""

# An order up to this long is proved when it is opened (some 10 ms), a longer one before it is first read.
WHOLE_CHECK: Final = 1 << 20
# No sample spans more documents, empty ones counted; a damaged sample_idx must not ask for all of them.
_MOST_DOCUMENTS: Final = 1 << 20


class Component(ABC):
    """``dataset`` in the order at ``place``: ``n_samples`` samples of ``seq_length`` + 1 tokens."""

    def __init__(self, dataset: TokenDataset, place: OrderPlace, seq_length: int, n_samples: int) -> None:
        self.dataset = dataset
        self.place = place
        self.seq_length = seq_length
        self.n_samples = n_samples
        self._is_proved = False

    @abstractmethod
    def pieces(self, positions: Int64Array) -> Pieces:
        """Return the pieces of documents of the samples at ``positions`` [n] of the stream."""

    @abstractmethod
    def epochs(self, positions: Int64Array) -> Int64Array:
        """Return of each of ``pieces(positions)`` which of its document's places in doc_idx it is from,
        counted from 0; UNKNOWN where documents are not known and where an overlay has packed it anew."""

    @abstractmethod
    def tokens(self, positions: Int64Array) -> Tokens:
        """Return the tokens of the samples at ``positions``, [n, seq_length + 1]."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what names the order by its content."""

    @abstractmethod
    def packed_numbers(self, positions: Int64Array) -> Int64Array:
        """Return the numbers of samples in the packing, where neighbours follow each other in the text."""

    @abstractmethod
    def packed_pieces(self, numbers: Int64Array) -> Pieces:
        """Return the pieces of the samples that have ``numbers`` in the packing, of all n_samples."""

    def prove(self) -> None:
        """Prove the files that the order is in before their first use; DataError for one that is wrong."""
        if not self._is_proved:
            self.dataset.store.proofs.prove(self.dataset.name, self.dataset.index_claims())
            self._is_proved = True

    @property
    def knows_documents(self) -> bool:
        """Whether it is known which document a token is of."""
        return True

    @property
    def shares_tokens(self) -> bool:
        """Whether a sample begins with the last token of the one before it in the packing."""
        return True

    @property
    def n_documents(self) -> int:
        """The documents that pieces can be of, numbered from 0."""
        return self.dataset.n_sequences

    def document_pieces(
        self, documents: Int64Array, offsets: Int64Array, n_tokens: Int64Array, positions: Int64Array
    ) -> Tokens:
        """Return tokens [offset, offset + n_tokens) of each of ``documents`` [n] as the samples at
        ``positions`` [n] show them, end to end."""
        return read_pieces(self.dataset, documents, offsets, n_tokens)

    def document_tokens(self, documents: Int64Array) -> Int64Array:
        """Return the sizes of documents, UNKNOWN for UNKNOWN."""
        sizes = np.full(len(documents), UNKNOWN, np.int64)
        known = documents != UNKNOWN
        sizes[known] = self.dataset.sizes.take(documents[known], np.ones(known.sum(), np.int64))
        return sizes

    def _copy(self, starts: Int64Array, lengths: Int64Array, rows: int) -> Tokens:
        """Return ``rows`` rows of tokens: the bytes of ranges of the data, end to end."""
        dataset = self.dataset
        if not dataset.is_mapped:
            content = dataset.read(starts, lengths)
        else:
            content = np.empty(rows * (self.seq_length + 1) * dataset.dtype.itemsize, np.uint8)
            targets = np.cumsum(lengths) - lengths
            for part, begin in zip(dataset.parts, dataset.part_starts.tolist(), strict=False):
                if not isinstance(part, MappedFile):
                    continue
                if len(starts) == 1:  # a step of a sequential order: nothing copies it as fast as NumPy
                    start = int(starts[0])
                    first, stop = max(start, begin), min(start + len(content), begin + part.size)
                    if first < stop:
                        content[first - start : stop - start] = part.array[first - begin : stop - begin]
                else:
                    copy_pieces(part.array, begin, starts, lengths, targets, content)
        return content.view(dataset.dtype).reshape(rows, self.seq_length + 1)


class MapsComponent(Component):
    """An order of three index maps."""

    def __init__(self, dataset: TokenDataset, place: OrderPlace, maps: OrderMaps, seq_length: int) -> None:
        super().__init__(dataset, place, seq_length, maps.n_samples)
        self._maps = maps
        arrays = (maps.doc_idx, maps.sample_idx, maps.shuffle_idx, dataset.sizes, dataset.pointers)
        self._is_mapped = all(array.mapped is not None for array in arrays)
        self._read = ReadSamples(place.name, maps.n_samples)
        if dataset.store.path is not None and len(maps.doc_idx) + maps.n_samples <= WHOLE_CHECK:
            self.whole_maps()

    def prove(self) -> None:
        """Prove the order before its first use (see ``viewer.order_proof``); DataError for what is wrong.

        Behind a URL what is read is checked, and a line says that the rest is not.
        """
        if self._is_proved:
            return
        place = self.place
        if place.store.path is None:
            place.store.proofs.leave(
                f"{place.name}: behind a URL, so that only the entries that are read are checked, and not "
                "the rest of the order"
            )
            return
        place.store.proofs.prove(place.name, order_claims(self.dataset, place, self._maps, self.seq_length))
        self._is_proved = True

    def whole_maps(self) -> tuple[npt.NDArray[Any], ...]:
        """Return doc_idx, sample_idx, shuffle_idx and sizes, proved; what is behind a URL is read."""
        maps, sizes = self._maps, self.dataset.sizes
        views = (maps.doc_idx, maps.sample_idx, maps.shuffle_idx, sizes)
        if self._is_mapped:
            self.prove()
            return tuple(view.whole() for view in views)
        arrays = {id(view): view.whole() for view in views}
        if not self._is_proved:
            claims = order_claims(
                self.dataset, self.place, maps, self.seq_length, lambda view: arrays[id(view)]
            )
            self.place.store.proofs.prove(self.place.name, claims)
            self._is_proved = True
        return tuple(arrays.values())

    def packed_numbers(self, positions: Int64Array) -> Int64Array:
        self.prove()
        samples = self._maps.shuffle_idx.take(positions, np.ones_like(positions)).astype(np.int64)
        self._check_samples(positions, samples)
        return samples

    def _check_samples(self, positions: Int64Array, samples: Int64Array) -> None:
        """Check what shuffle_idx holds at ``positions``: numbers of samples, none of them twice."""
        check_samples(samples, self._maps.n_samples)
        if not self._is_proved:
            self._read.add(positions, samples)

    def packed_pieces(self, numbers: Int64Array) -> Pieces:
        self.prove()
        maps = self._maps
        check_samples(numbers, maps.n_samples)
        bounds = maps.sample_idx.take(numbers, np.full_like(numbers, 2)).reshape(-1, 2, 2)
        doc_idx, sizes = maps.doc_idx.whole(), self.dataset.sizes.whole()
        return locate(bounds[:, 0], bounds[:, 1], doc_idx, sizes, self.seq_length, numbers)

    def describe(self) -> dict[str, Any]:
        maps = self._maps
        arrays = {"doc_idx": maps.doc_idx, "sample_idx": maps.sample_idx, "shuffle_idx": maps.shuffle_idx}
        remote = self.place.store.path is None
        return {
            name: [
                array.dtype.name,
                list(array.shape),
                getattr(array.source, "version", array.source.name)
                if remote
                else sampled_sha256(
                    array.dtype.itemsize * int(np.prod(array.shape, dtype=np.int64)), array.read_bytes
                ),
            ]
            for name, array in arrays.items()
        }

    def pieces(self, positions: Int64Array) -> Pieces:
        self.prove()
        try:
            return self._mapped_pieces(positions) if self._is_mapped else self._taken_pieces(positions)[0]
        except DataError as error:
            raise self._damaged(error) from None

    def epochs(self, positions: Int64Array) -> Int64Array:
        self.prove()
        try:
            pieces, _, places = self._taken_pieces(positions)
        except DataError as error:
            raise self._damaged(error) from None
        record = self.place.record
        if isinstance(record, OrderRecord) and record.epochs == 1 and record.like is None:
            return np.zeros_like(places)  # no document has a second place, so doc_idx need not be read
        all_places, epochs = document_places(self._maps.doc_idx.whole(), np.unique(pieces.document))
        found: Int64Array = epochs[np.searchsorted(all_places, places)]
        return found

    def tokens(self, positions: Int64Array) -> Tokens:
        self.prove()
        try:
            if self._is_mapped:
                pieces = self._mapped_pieces(positions)
                pointers = self._mapped_pointers(pieces)
            else:
                pieces, pointers, _ = self._taken_pieces(positions)
        except DataError as error:
            raise self._damaged(error) from None
        itemsize = self.dataset.dtype.itemsize
        return self._copy(pointers + pieces.offset * itemsize, pieces.n_tokens * itemsize, len(positions))

    def _damaged(self, error: DataError) -> DataError:
        return DataError(f"{self.place.name}: {error}; the order is damaged or of another dataset")

    def _mapped_pieces(self, positions: Int64Array) -> Pieces:
        maps = self._maps
        shuffle_idx, sample_idx, doc_idx = (
            np.asarray(array.mapped) for array in (maps.shuffle_idx, maps.sample_idx, maps.doc_idx)
        )
        samples = shuffle_idx[positions].astype(np.int64)
        self._check_samples(positions, samples)
        sizes = np.asarray(self.dataset.sizes.mapped)
        return locate(sample_idx[samples], sample_idx[samples + 1], doc_idx, sizes, self.seq_length, samples)

    def _mapped_pointers(self, pieces: Pieces) -> Int64Array:
        dataset = self.dataset
        pointers, sizes = np.asarray(dataset.pointers.mapped), np.asarray(dataset.sizes.mapped)
        documents = pieces.document
        before = np.maximum(documents - 1, 0)
        found: Int64Array = pointers[documents]
        check_pointers(
            documents,
            found,
            sizes[documents],
            pointers[before],
            sizes[before],
            dataset.dtype.itemsize,
            dataset.data_bytes,
        )
        return found

    def _taken_pieces(self, positions: Int64Array) -> tuple[Pieces, Int64Array, Int64Array]:
        """Return the pieces, the pointers of their documents and their places in doc_idx, of entries taken
        from each array."""
        maps, dataset = self._maps, self.dataset
        samples = maps.shuffle_idx.take(positions, np.ones_like(positions)).astype(np.int64)
        self._check_samples(positions, samples)
        bounds = maps.sample_idx.take(samples, np.full_like(samples, 2)).reshape(-1, 2, 2).astype(np.int64)
        first, last = bounds[:, 0, 0], bounds[:, 1, 0]
        wrong = np.flatnonzero(
            (first < 0) | (last < first) | (last >= len(maps.doc_idx)) | (last - first > _MOST_DOCUMENTS)
        )
        if len(wrong):
            place = int(wrong[0])
            raise DataError(
                f"sample_idx puts sample {samples[place]} between places {first[place]} and {last[place]} of "
                f"doc_idx, which has {len(maps.doc_idx)}"
            )
        counts = last - first + 1
        documents = maps.doc_idx.take(first, counts).astype(np.int64)
        outside = np.flatnonzero((documents < 0) | (documents >= dataset.n_sequences))
        if len(outside):
            raise DataError(
                f"doc_idx holds document {documents[outside[0]]}, but the dataset has {dataset.n_sequences}"
            )
        # Each document with the one before it, where there is one: the pointers must follow each other.
        has_before = (documents > 0).astype(np.int64)
        ends = np.cumsum(has_before + 1) - 1
        sizes = dataset.sizes.take(documents - has_before, has_before + 1)
        pointers = dataset.pointers.take(documents - has_before, has_before + 1)
        check_pointers(
            documents,
            pointers[ends],
            sizes[ends],
            pointers[ends - has_before],
            sizes[ends - has_before],
            dataset.dtype.itemsize,
            dataset.data_bytes,
        )
        # The same walk as over whole arrays, with documents called by their places in what was taken.
        heads = np.cumsum(counts) - counts
        places = np.arange(len(documents)) + np.repeat(first - heads, counts)
        bounds[:, 0, 0] = heads
        bounds[:, 1, 0] = heads + counts - 1
        taken = np.arange(len(documents), dtype=np.int32)
        found = locate(bounds[:, 0], bounds[:, 1], taken, sizes[ends], self.seq_length, samples)
        pieces = Pieces(found.row, found.position, documents[found.document], found.offset, found.n_tokens)
        return pieces, pointers[ends][found.document], places[found.document]


class SequentialComponent(Component):
    """Sample i is sequence i of the dataset; every one has seq_length + 1 tokens.

    Which documents they are from is known where `pile-tools tokenize` made the dataset, one document a
    sequence, and nowhere else.
    """

    @property
    def knows_documents(self) -> bool:
        return self.dataset.manifest is not None

    @property
    def shares_tokens(self) -> bool:
        return False

    def packed_numbers(self, positions: Int64Array) -> Int64Array:
        return positions

    def packed_pieces(self, numbers: Int64Array) -> Pieces:
        return self.pieces(numbers)

    def describe(self) -> dict[str, Any]:
        return {"sequential": self.dataset.n_sequences}

    def pieces(self, positions: Int64Array) -> Pieces:
        self._check(positions, positions)
        zeros = np.zeros_like(positions)
        documents = positions if self.knows_documents else zeros + UNKNOWN
        offsets = zeros if self.knows_documents else zeros + UNKNOWN
        return Pieces(np.arange(len(positions)), zeros, documents, offsets, zeros + self.seq_length + 1)

    def epochs(self, positions: Int64Array) -> Int64Array:
        return np.full_like(positions, 0 if self.knows_documents else UNKNOWN)

    def tokens(self, positions: Int64Array) -> Tokens:
        rows = _consecutive(positions)
        self._check(positions, rows)
        row_bytes = (self.seq_length + 1) * self.dataset.dtype.itemsize
        starts = positions * row_bytes
        lengths = np.full_like(positions, row_bytes)
        if isinstance(rows, slice):
            starts, lengths = starts[:1], np.array([len(positions) * row_bytes])
        return self._copy(starts, lengths, len(positions))

    def _check(self, positions: Int64Array, rows: slice | Int64Array) -> None:
        """Check sizes and pointers, but not what a publisher tells of a dataset behind a URL.

        ``rows`` are the ``positions``, as a slice where that is known to be the same.
        """
        self.prove()
        sizes, pointers = self.dataset.sizes, self.dataset.pointers
        if sizes.mapped is not None and pointers.mapped is not None:
            found, starts = sizes.mapped[rows], pointers.mapped[rows]
        elif self.dataset.sequence_tokens == self.seq_length + 1:
            return
        else:
            ones = np.ones_like(positions)
            found, starts = sizes.take(positions, ones), pointers.take(positions, ones)
        row_bytes = (self.seq_length + 1) * self.dataset.dtype.itemsize
        wrong = np.flatnonzero((found != self.seq_length + 1) | (starts != positions * row_bytes))
        if len(wrong):
            place = int(wrong[0])
            raise DataError(
                f"{self.dataset.index_name}: sequence {positions[place]} has {found[place]} tokens at byte "
                f"{starts[place]}, so it is no sample of {self.seq_length + 1} tokens of a sequential order"
            )


def _consecutive(positions: Int64Array) -> slice | Int64Array:
    """Return ``positions`` as a slice where they follow each other: a view of an array, and no copy."""
    first, count = (int(positions[0]), len(positions)) if len(positions) else (0, 0)
    if (
        count
        and positions[-1] == first + count - 1
        and np.array_equal(positions, np.arange(first, first + count))
    ):
        return slice(first, first + count)
    return positions


def read_pieces(
    dataset: TokenDataset, documents: Int64Array, offsets: Int64Array, n_tokens: Int64Array
) -> Tokens:
    """Return tokens [offset, offset + n_tokens) of each of ``documents``, end to end."""
    ones = np.ones_like(documents)
    sizes = dataset.sizes.take(documents, ones)
    if np.any((offsets < 0) | (offsets + n_tokens > sizes)):
        raise DataError(f"{dataset.name}: a piece of a document leaves it; make the overlay again")
    starts = dataset.pointers.take(documents, ones) + offsets * dataset.dtype.itemsize
    return dataset.read(starts, n_tokens * dataset.dtype.itemsize).view(dataset.dtype)
