"""Overlays: a component as an intervention shows it. Tokens that are not changed are read from the parent."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.locate import Pieces
from pile_tools.algorithms.swaps import swap_tokens, swap_vectors
from pile_tools.errors import DataError
from pile_tools.formats.map_files import read_array
from pile_tools.formats.overlay import (
    ADDED_NAME,
    DOCUMENTS_NAME,
    OVERLAY_NAME,
    PIECES_NAME,
    SAMPLES_NAME,
    OverlayRecord,
)
from pile_tools.formats.recorded_files import listed_entry, open_whole, prove_recorded
from pile_tools.formats.store import Store
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.urls import child
from pile_tools.viewer.components import UNKNOWN, Component, Int64Array, Tokens, read_pieces

__all__ = ["OverlayComponent", "base_of", "changed_samples"]

_REMEDY: Final = "restore it, or run `pile-tools intervene` again"
_NO_ROWS: Final = np.empty(0, np.int64)


class OverlayComponent(Component):
    """``parent`` with the changes of ``record``; its first sample is number ``first_sample`` of the stream.

    A token of a document that layer k of several overlays has added (the dataset is layer 0) is swapped by
    the layers above k whose range holds the sample.
    """

    def __init__(
        self, parent: Component, store: Store, record: OverlayRecord, first_sample: int, n_samples: int
    ) -> None:
        super().__init__(parent.dataset, parent.place, parent.seq_length, parent.n_samples)
        self.parent = parent
        self.record = record
        self.first_sample = first_sample
        self.name = store.name
        if record.last_sample > first_sample + n_samples or record.first_sample < first_sample:
            raise DataError(
                f"{store.name}: changes samples {record.first_sample}:{record.last_sample}, but its parent "
                f"has {first_sample}:{first_sample + n_samples}"
            )
        if record.swaps and max(max(pair) for pair in record.swaps) > np.iinfo(self.dataset.dtype).max:
            raise DataError(f"{store.name}: swaps ids that are no {self.dataset.dtype.name}")
        self._swaps = swap_vectors(record.swaps, self.dataset.dtype)
        self.added: TokenDataset | None = None
        self.store = store
        if record.added_documents:
            self.added = self._open_added(store, record)
            if self.added.n_sequences != record.added_documents or self.added.dtype != self.dataset.dtype:
                raise DataError(f"{self.added.name}: not the documents that {OVERLAY_NAME} describes")
        self._samples, self._pieces = self._read_samples(store)

    def _open_added(self, store: Store, record: OverlayRecord) -> TokenDataset:
        """Open the documents that the overlay has added, whose files its record lists."""
        added = TokenDataset.open(child(store.location, ADDED_NAME))
        inside = [entry for entry in record.files if entry.name.startswith(f"{ADDED_NAME}/")]
        entries = [replace(entry, name=entry.name.removeprefix(f"{ADDED_NAME}/")) for entry in inside]
        added.set_recorded(f"{store.name}/{OVERLAY_NAME}", entries)
        for suffix in ("bin", "idx"):
            added.open_beside(f"{added.prefix}.{suffix}")
        return added

    def _refuse_unlisted(self, *names: str) -> None:
        """Raise DataError for a file of an overlay that is there and that the record does not list."""
        present = self.store.list() or ()
        for name in names:
            if name in present:
                listed_entry(self.record.files, name, f"{self.store.name}/{OVERLAY_NAME}", _REMEDY)

    def prove(self) -> None:
        """Prove the parent's files; those of the overlay were proved when they were opened."""
        self.parent.prove()

    def _read_samples(self, store: Store) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        names = (SAMPLES_NAME, PIECES_NAME)
        if all(self.record.entry(name) is None for name in names):
            self._refuse_unlisted(*names, DOCUMENTS_NAME)
            return np.empty((0, 2), np.int64), np.empty((0, 3), np.int64)
        record = f"{store.name}/{OVERLAY_NAME}"
        entries = [listed_entry(self.record.files, name, record, _REMEDY) for name in names]
        sources = [open_whole(store, entry) for entry in entries]
        samples, pieces = (read_array(source, 2, ("int64",)).whole() for source in sources)
        self._check_samples(samples, pieces)
        for source, entry in zip(sources, entries, strict=True):
            prove_recorded(store, source, entry, _REMEDY)
        return samples, pieces

    def _check_samples(self, samples: npt.NDArray[np.int64], pieces: npt.NDArray[np.int64]) -> None:
        """Raise DataError where the two arrays are no list of samples."""
        if samples.shape[1:] != (2,) or pieces.shape[1:] != (3,) or not len(samples):
            raise DataError(f"{self.name}: {SAMPLES_NAME} and {PIECES_NAME} are no list of samples")
        numbers, starts = samples[:, 0], samples[:, 1]
        sums = np.add.reduceat(pieces[:, 2], starts) if starts[0] == 0 and starts[-1] < len(pieces) else None
        if (
            np.any(np.diff(numbers) <= 0)
            or np.any(np.diff(starts) <= 0)
            or numbers[0] < self.record.first_sample
            or numbers[-1] >= self.record.last_sample
            or sums is None
            or np.any(sums != self.seq_length + 1)
            or np.any(pieces[:, 2] <= 0)
        ):
            raise DataError(f"{self.name}: {SAMPLES_NAME} and {PIECES_NAME} contradict each other")

    @property
    def n_documents(self) -> int:
        return self.parent.n_documents + self.record.added_documents

    @property
    def knows_documents(self) -> bool:
        return self.parent.knows_documents

    @property
    def shares_tokens(self) -> bool:
        return self.parent.shares_tokens

    def packed_numbers(self, positions: Int64Array) -> Int64Array:
        return self.parent.packed_numbers(positions)

    def packed_pieces(self, numbers: Int64Array) -> Pieces:
        return self.parent.packed_pieces(numbers)

    def describe(self) -> dict[str, Any]:
        return {"parent": self.parent.describe(), "overlay": self.record.to_bytes().decode()}

    def document_tokens(self, documents: Int64Array) -> Int64Array:
        own = documents >= self.parent.n_documents
        sizes = self.parent.document_tokens(np.where(own, UNKNOWN, documents))
        if self.added is not None:
            numbers = documents[own] - self.parent.n_documents
            sizes[own] = self.added.sizes.take(numbers, np.ones_like(numbers))
        return sizes

    def pieces(self, positions: Int64Array) -> Pieces:
        rows, starts, counts = self._listed(positions)
        others = np.setdiff1d(np.arange(len(positions)), rows)
        found = self.parent.pieces(positions[others])
        mine = self._own_pieces(starts, counts)
        places = (np.cumsum(mine[:, 2]) - mine[:, 2]) % (self.seq_length + 1)
        hidden = np.full(len(mine), UNKNOWN)
        columns = {
            "row": (others[found.row], np.repeat(rows, counts)),
            "position": (found.position, places),
            "document": (found.document, mine[:, 0] if self.knows_documents else hidden),
            "offset": (found.offset, mine[:, 1] if self.knows_documents else hidden),
            "n_tokens": (found.n_tokens, mine[:, 2]),
        }
        joined = {name: np.concatenate(pair) for name, pair in columns.items()}
        order = np.argsort(joined["row"], kind="stable")
        return Pieces(*(joined[name][order] for name in columns))

    def epochs(self, positions: Int64Array) -> Int64Array:
        rows, _, counts = self._listed(positions)
        others = np.setdiff1d(np.arange(len(positions)), rows)
        # In the order of ``pieces``: by row.
        row = np.concatenate([others[self.parent.pieces(positions[others]).row], np.repeat(rows, counts)])
        found = np.concatenate([self.parent.epochs(positions[others]), np.full(counts.sum(), UNKNOWN)])
        return found[np.argsort(row, kind="stable")]

    def tokens(self, positions: Int64Array) -> Tokens:
        rows, starts, counts = self._listed(positions)
        if not len(rows):
            out = self.parent.tokens(positions)
            self._swap(out, positions)
            return out
        out = np.empty((len(positions), self.seq_length + 1), self.dataset.dtype)
        others = np.setdiff1d(np.arange(len(positions)), rows)
        if len(others):
            out[others] = self.parent.tokens(positions[others])
            part = out[others]
            self._swap(part, positions[others])
            out[others] = part
        mine = self._own_pieces(starts, counts)
        flat = self.document_pieces(mine[:, 0], mine[:, 1], mine[:, 2], np.repeat(positions[rows], counts))
        out[rows] = flat.reshape(len(rows), -1)
        return out

    def document_pieces(
        self, documents: Int64Array, offsets: Int64Array, n_tokens: Int64Array, positions: Int64Array
    ) -> Tokens:
        own = documents >= self.parent.n_documents
        out = np.empty(int(n_tokens.sum()), self.dataset.dtype)
        mask = np.repeat(own, n_tokens)
        below = ~own
        if below.any():
            found = self.parent.document_pieces(
                documents[below], offsets[below], n_tokens[below], positions[below]
            )
            inside = np.repeat(self.covers(positions[below]), n_tokens[below])
            swapped = found[inside]
            swap_tokens(swapped, *self._swaps)
            found[inside] = swapped
            out[~mask] = found
        if own.any():
            if self.added is None:
                raise DataError(f"{self.name}: {PIECES_NAME} holds a document that is not there")
            out[mask] = read_pieces(
                self.added, documents[own] - self.parent.n_documents, offsets[own], n_tokens[own]
            )
        return out

    @property
    def packed_anew(self) -> Int64Array:
        """The samples of the stream that this overlay packs anew, ascending; not those of overlays below."""
        return self._samples[:, 0]

    @property
    def documents(self) -> Int64Array | None:
        """The documents that this overlay drops, replaces or moves, ascending; None where it does not."""
        entry = self.record.entry(DOCUMENTS_NAME)
        if entry is None:
            self._refuse_unlisted(DOCUMENTS_NAME)
            return None
        source = open_whole(self.store, entry)
        prove_recorded(self.store, source, entry, _REMEDY)
        found: Int64Array = read_array(source, 1, ("int64",)).whole()
        if not len(found) or found[0] < 0 or np.any(np.diff(found) <= 0):
            raise DataError(f"{self.name}: {DOCUMENTS_NAME} is no list of documents")
        return found

    def is_listed(self, positions: Int64Array) -> npt.NDArray[np.bool_]:
        """Return which of the samples at ``positions`` [n] this overlay or one below packs anew."""
        listed = np.zeros(len(positions), np.bool_)
        listed[self._listed(positions)[0]] = True
        if isinstance(self.parent, OverlayComponent):
            listed |= self.parent.is_listed(positions)
        return listed

    def covers(self, positions: Int64Array) -> npt.NDArray[np.bool_]:
        """Return which of the samples at ``positions`` [n] are in the range that this overlay changes."""
        samples = positions + self.first_sample
        inside: npt.NDArray[np.bool_] = (samples >= self.record.first_sample) & (
            samples < self.record.last_sample
        )
        return inside

    def _swap(self, tokens: Tokens, positions: Int64Array) -> None:
        inside = self.covers(positions)
        if not inside.any() or not self.record.swaps:
            return
        part = tokens[inside].reshape(-1)
        swap_tokens(part, *self._swaps)
        tokens[inside] = part.reshape(-1, tokens.shape[1])

    def _listed(self, positions: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Return which of ``positions`` are packed anew, and the first row and number of their pieces."""
        if not len(self._samples):
            return _NO_ROWS, _NO_ROWS, _NO_ROWS
        numbers = self._samples[:, 0]
        places = np.minimum(np.searchsorted(numbers, positions + self.first_sample), len(numbers) - 1)
        rows = np.flatnonzero(numbers[places] == positions + self.first_sample)
        starts = self._samples[:, 1]
        stops = np.append(starts[1:], len(self._pieces))
        found = places[rows]
        return rows, starts[found], stops[found] - starts[found]

    def _own_pieces(self, starts: Int64Array, counts: Int64Array) -> npt.NDArray[np.int64]:
        if not len(starts):
            return np.empty((0, 3), np.int64)
        return np.concatenate(
            [self._pieces[start : start + count] for start, count in zip(starts, counts, strict=True)]
        )


def base_of(component: Component) -> Component:
    """Return the component that all overlays of ``component`` change; itself where it is no overlay."""
    while isinstance(component, OverlayComponent):
        component = component.parent
    return component


def changed_samples(component: Component, positions: Int64Array) -> npt.NDArray[np.bool_]:
    """Return which of the samples at ``positions`` [n] have other tokens than without any overlay."""
    changed = np.zeros(len(positions), np.bool_)
    layer, inside = component, np.zeros(len(positions), np.bool_)
    while isinstance(layer, OverlayComponent):
        inside |= layer.covers(positions)
        layer = layer.parent
    rows = np.flatnonzero(inside)
    if len(rows):
        changed[rows] = (component.tokens(positions[rows]) != layer.tokens(positions[rows])).any(axis=1)
    return changed
