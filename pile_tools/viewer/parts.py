"""The components of a stream as the lookups see them."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pile_tools.algorithms.listed import Listed
from pile_tools.algorithms.locate import Pieces
from pile_tools.errors import DataError
from pile_tools.formats.history import History, carry_manifest, check_carried
from pile_tools.formats.origins import OriginDataset
from pile_tools.formats.sources import MappedFile
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.stream import Maps
from pile_tools.viewer.blend import Blend
from pile_tools.viewer.components import UNKNOWN, Component, Int64Array, MapsComponent, Tokens
from pile_tools.viewer.opening import Stream
from pile_tools.viewer.origins import Origins
from pile_tools.viewer.overlay import OverlayComponent, base_of
from pile_tools.viewer.reading import Decoder, DocumentTable, Table, provenance_of

__all__ = ["FetchedPart", "ViewedPart"]


class ViewedPart:
    """Component ``place`` of ``stream``, of which positions [bounds) are read (``lookups.stream.Part``)."""

    number: int | None

    def __init__(
        self,
        stream: Stream,
        place: int,
        decoder: Decoder,
        lock: threading.Lock,
        bounds: tuple[int, int],
    ) -> None:
        self.component: Component = stream.components[place]
        self._index = place
        self.number = place if stream.blend is not None else None
        self._stream = stream
        self._decoder = decoder
        self._lock = lock
        self._bounds = bounds
        self._maps: Maps | None = None
        self._numbers: tuple[Int64Array, Int64Array] | None = None

    @property
    def name(self) -> str:
        return self.component.dataset.name

    @property
    def dataset(self) -> TokenDataset | None:
        """The dataset; None where only steps of it were fetched."""
        return self.component.dataset

    @property
    def identity(self) -> str:
        return self.component.dataset.identity

    @property
    def samples(self) -> int:
        if self._stream.blend is not None:
            numbers, _ = self._in_blend(self._stream.blend)
            return int(numbers[-1]) + 1 if len(numbers) else 0
        return self._bounds[1] - self._stream.first_sample

    @property
    def n_tokens(self) -> int:
        return self.component.dataset.n_tokens

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.component.dataset.dtype

    @property
    def n_documents(self) -> int | None:
        return self.component.n_documents if self.component.knows_documents else None

    def below(self) -> "tuple[ViewedPart, Int64Array] | None":
        component = self.component
        if not isinstance(component, OverlayComponent):
            return None
        components = list(self._stream.components)
        components[self._index] = component.parent
        parent = replace(self._stream, components=tuple(components))
        part = ViewedPart(parent, self._index, self._decoder, self._lock, self._bounds)
        return part, component.packed_anew - component.first_sample

    def maps(self) -> Maps | None:
        if not isinstance(self.component, MapsComponent):
            self.component.prove()
            return None
        if self._maps is None:
            doc_idx, sample_idx, shuffle_idx, sizes = self.component.whole_maps()
            pointers = self.component.dataset.pointers.whole()
            self._maps = Maps(doc_idx, sample_idx, shuffle_idx, sizes, pointers)
        return self._maps

    def read(self, start: int, stop: int) -> Tokens:
        dataset = self.component.dataset
        first, last = start * dataset.dtype.itemsize, stop * dataset.dtype.itemsize
        number = int(np.searchsorted(dataset.part_starts, first, side="right")) - 1
        if number < len(dataset.parts) and last <= dataset.part_starts[number + 1]:
            part, begin = dataset.parts[number], int(dataset.part_starts[number])
            if isinstance(part, MappedFile):
                tokens: Tokens = part.array[first - begin : last - begin].view(dataset.dtype)
                return tokens
        return dataset.read(np.array([first]), np.array([last - first])).view(dataset.dtype)

    def tokens(self, samples: Int64Array) -> Tokens:
        return self.component.tokens(samples)

    def pieces(self, samples: Int64Array) -> Pieces:
        return self.component.pieces(samples)

    def epochs(self, samples: Int64Array) -> Int64Array:
        """Return the epoch of each of ``pieces(samples)`` (see ``lookups.places.Shown``)."""
        return self.component.epochs(samples)

    def document_tokens(self, documents: Int64Array) -> Int64Array:
        """Return the sizes of documents, UNKNOWN for UNKNOWN."""
        return self.component.document_tokens(documents)

    def listed(self) -> Listed | None:
        return None

    def history(self) -> History | None:
        """Return what the dataset was made from; None of one of another tool."""
        dataset = self.component.dataset
        return None if dataset.manifest is None else History.open(dataset.store)

    def origin(self) -> OriginDataset:
        """Return what fetched steps say of the dataset, as if it were the only one."""
        manifest = self.component.dataset.manifest
        return OriginDataset(
            documents=self.n_documents,
            tokens=self.n_tokens,
            samples=self.component.n_samples,
            addresses=self.provenance() is not None,
            manifest=None if manifest is None else manifest.identity,
            first=0,
            packed_anew=_packs_anew(self.component),
            sources=self.sources() or None,
        )

    def check_carried(self) -> None:
        """Raise DataError where a file that ``carry`` copies is missing."""
        dataset = self.component.dataset
        if dataset.manifest is not None:
            check_carried(dataset.store, dataset.manifest)

    def carry(self, output: Path) -> list[str]:
        """Write what is known of the dataset's making into ``output``/parents; return the files' names."""
        dataset = self.component.dataset
        return [] if dataset.manifest is None else carry_manifest(dataset.store, dataset.manifest, output)

    def positions(self, samples: Int64Array) -> Int64Array:
        blend = self._stream.blend
        if blend is None:
            found = samples + self._stream.first_sample
            return np.where((found >= self._bounds[0]) & (found < self._bounds[1]), found, -1)
        numbers, positions = self._in_blend(blend)
        at = np.searchsorted(numbers, samples)
        read = at < len(numbers)
        read[read] = numbers[at[read]] == samples[read]
        found = np.full(len(samples), -1, np.int64)
        found[read] = positions[at[read]]
        return found

    def _in_blend(self, blend: Blend) -> tuple[Int64Array, Int64Array]:
        """Return the samples that the blend reads of this part, ascending, and where in the stream."""
        if self._numbers is None:
            which, numbers = blend.arrays(self._bounds[1])
            positions = np.flatnonzero(which == self.number)
            numbers = numbers[positions]
            order = np.argsort(numbers, kind="stable")
            numbers, positions = numbers[order], positions[order]
            if np.any(numbers[1:] == numbers[:-1]):
                raise DataError(f"{blend.name}: reads a sample of dataset {self.number} twice; it is damaged")
            self._numbers = numbers, positions
        return self._numbers

    def provenance(self) -> Table | None:
        return provenance_of(self.component, self._lock)

    def sources(self) -> tuple[str | None, ...]:
        table = provenance_of(base_of(self.component), self._lock)
        return () if table is None else table.sources()

    def tokenizer(self) -> tuple[Any, int]:
        return self._decoder.tokenizer()

    @property
    def decoder(self) -> Decoder:
        return self._decoder


def _packs_anew(component: Component) -> bool:
    """Whether an overlay packs samples of ``component`` anew."""
    return isinstance(component, OverlayComponent) and (
        len(component.packed_anew) > 0 or _packs_anew(component.parent)
    )


class FetchedPart(ViewedPart):
    """Dataset ``place`` of the stream that ``stream``, sequences with ``origins``, was fetched from.

    Its samples are the sequences, those of other datasets of a blend included: their positions are −1.
    """

    def __init__(
        self,
        stream: Stream,
        origins: Origins,
        place: int,
        decoder: Decoder,
        lock: threading.Lock,
        bounds: tuple[int, int],
    ) -> None:
        super().__init__(stream, 0, decoder, lock, bounds)
        self.number = place if origins.record.blend else None
        self._origins = origins
        self._place = place
        self._dataset = origins.dataset(place)

    @property
    def dataset(self) -> TokenDataset | None:
        return None

    @property
    def identity(self) -> str:
        return f"{self._dataset.first} of {super().identity}"

    @property
    def n_documents(self) -> int | None:
        return self._dataset.documents

    def positions(self, samples: Int64Array) -> Int64Array:
        found = super().positions(samples)
        return np.where(self._origins.which(samples) == self._place, found, -1)

    def pieces(self, samples: Int64Array) -> Pieces:
        return self._origins.pieces(self._place, samples)[0]

    def epochs(self, samples: Int64Array) -> Int64Array:
        return self._origins.pieces(self._place, samples)[1]

    def document_tokens(self, documents: Int64Array) -> Int64Array:
        sizes = np.full(len(documents), UNKNOWN, np.int64)
        known = documents != UNKNOWN
        table = self._table()
        if table is not None and known.any():
            sizes[known] = table.lookup(documents[known], ["n_tokens"]).column(0).to_numpy()
        return sizes

    def listed(self) -> Listed | None:
        return self._origins.listed(self._place)

    def _table(self) -> DocumentTable | None:
        table = self._origins.documents(self._place)
        return None if table is None else DocumentTable(table, self._lock)

    def provenance(self) -> Table | None:
        return self._table() if self._dataset.addresses else None

    def sources(self) -> tuple[str | None, ...]:
        return self._dataset.sources or ()

    def history(self) -> History | None:
        return self._origins.history(self._place)

    def origin(self) -> OriginDataset:
        return self._dataset

    def check_carried(self) -> None:
        self._origins.check_carried(self._place)

    def carry(self, output: Path) -> list[str]:
        return self._origins.carry(self._place, output)
