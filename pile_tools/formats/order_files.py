"""The files of an order, under the names of GPT-NeoX or of Megatron-Core, and how an order is found.

GPT-NeoX: ``{prefix}_{name}_indexmap_{num_samples}ns_{seq_length}sl_{seed}s_{doc,sample,shuffle}_idx.npy``,
since 2024 with ``_packedpi_ac`` after the seed, and with ``None`` for num_samples where ``train_epochs``
is set.
Megatron-Core: ``{hash}-GPTDataset-{split}-{document,sample,shuffle}_index.npy`` with a
``-description.txt``. What comes before the array's name is the order's label.
"""

import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.map_files import read_array
from pile_tools.formats.names import name_problem
from pile_tools.formats.order_record import ORDER_NAME, BlendRecord, OrderRecord, parse_record
from pile_tools.formats.sources import ArrayView, MissingFileError
from pile_tools.formats.store import Io, LocalStore, Store, open_listed, open_store
from pile_tools.formats.urls import is_url, split_last, without_credentials

__all__ = [
    "PACKINGS",
    "SEQUENTIAL",
    "DrawnDocuments",
    "MapNames",
    "OrderMaps",
    "OrderPlace",
    "find_order",
    "list_orders",
    "unlisted_order",
]

SEQUENTIAL: Final = "sequential"
"""Names the order of a dataset's own sequences, which needs no file."""

_LABEL: Final = re.compile(r"(.+)_indexmap_(\d+|None)ns_(\d+)sl_(\d+)s(?:_(\w+)pi(_ac)?)?")
_SPLIT_PARTS: Final = ("train", "valid", "test")
PACKINGS: Final = {"neox": "", "neox-2024": "_packedpi_ac"}
"""What follows the seed in the names of GPT-NeoX up to 2023 and since 2024."""
_SUFFIXES: Final = {
    "neox": ("_doc_idx.npy", "_sample_idx.npy", "_shuffle_idx.npy"),
    "megatron-core": ("-document_index.npy", "-sample_index.npy", "-shuffle_index.npy"),
}


@dataclass(frozen=True, slots=True)
class MapNames:
    """What the file names of index maps say. ``base`` is the dataset's prefix, "_" and the order's name.

    ``num_samples`` is None where ``train_epochs`` set the length; ``packing`` is what follows the seed, and
    ``is_packed`` says whether samples are cut from documents that are laid end to end, as of all old maps.
    """

    base: str
    num_samples: int | None
    seq_length: int
    seed: int
    packing: str = ""

    @property
    def label(self) -> str:
        return f"{self.base}_indexmap_{self.num_samples}ns_{self.seq_length}sl_{self.seed}s{self.packing}"

    @property
    def is_packed(self) -> bool:
        return self.packing.removesuffix("_ac") in ("", "_packedpi")

    @classmethod
    def parse(cls, label: str) -> Self | None:
        """Return what ``label`` says, or None where it is not of GPT-NeoX's form."""
        match = _LABEL.fullmatch(label)
        if match is None:
            return None
        num_samples = None if match[2] == "None" else int(match[2])
        packing = "" if match[5] is None else f"_{match[5]}pi{match[6] or ''}"
        return cls(match[1], num_samples, int(match[3]), int(match[4]), packing)


@dataclass(frozen=True, slots=True)
class DrawnDocuments:
    """The documents that an order draws on: their range (None: not known), or the ``part`` of a split that
    they are; ``epochs``, None where it is not recorded."""

    documents: tuple[int, int] | None
    part: str | None
    epochs: int | None


def _split_range(description: Any, part: str, n_documents: int) -> tuple[int, int] | None:
    """Return the range of Megatron-Core's ``part`` of a split, None where its description does not tell."""
    try:
        start, stop = description["split_matrix"][_SPLIT_PARTS.index(part)]
        return round(start * float(n_documents)), round(stop * float(n_documents))
    except (KeyError, TypeError, ValueError, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """Where an order is: a store and its label there; its record unless another tool wrote the maps."""

    store: Store
    label: str
    record: OrderRecord | BlendRecord | None
    style: str = "neox"

    @property
    def name(self) -> str:
        """The path by which messages name the order."""
        return f"{self.store.name}/{self.label}"

    def file_names(self) -> tuple[str, ...]:
        """Return the names of doc_idx, sample_idx and shuffle_idx."""
        return tuple(self.label + suffix for suffix in _SUFFIXES[self.style])

    def told(self) -> tuple[int | None, int | None]:
        """Return seq_length and num_samples as names and files of bare maps tell them, None where not."""
        if names := MapNames.parse(self.label):
            return names.seq_length, names.num_samples
        value = self._description()
        if value is None:
            return None, None
        try:
            length, samples = value.get("sequence_length"), value.get("num_samples")
        except AttributeError:
            raise DataError(
                f"{self.name}-description.txt: no JSON object, so it does not tell the sequence length; "
                "copy it again"
            ) from None
        for field, count in (("sequence_length", length), ("num_samples", samples)):
            if count is not None and (type(count) is not int or count < 1):
                raise DataError(f"{self.name}-description.txt: {field} is {count!r}; copy it again")
        return length, samples

    def _description(self) -> Any:
        """Return what Megatron-Core says of its maps, None where it says nothing."""
        content = self.store.read(f"{self.label}-description.txt")
        try:
            return None if content is None else orjson.loads(content)
        except orjson.JSONDecodeError:
            raise DataError(f"{self.name}-description.txt: does not tell the sequence length") from None

    def drawn_documents(self, n_documents: int) -> "DrawnDocuments":
        """Return which of ``n_documents`` doc_idx holds, and how often, as far as record and names tell."""
        if isinstance(self.record, OrderRecord):
            return DrawnDocuments(self.record.documents, None, self.record.epochs)
        if self.style == "megatron-core":
            part = self.label.rpartition("-")[2]
            return DrawnDocuments(_split_range(self._description(), part, n_documents), part, None)
        # GPT-NeoX calls the parts of a split so, and counts those datasets that are used whole.
        part = self.label.partition("_indexmap_")[0].rpartition("_")[2]
        if part in _SPLIT_PARTS:
            return DrawnDocuments(None, part, None)
        return DrawnDocuments((0, n_documents), None, None)


def list_orders(store: Store, prefix: str | None) -> list[OrderPlace]:
    """Return the orders in ``store``: those with a record, then bare maps.

    Of several token datasets there, only the orders of ``prefix``, and GPT-NeoX's bare maps are always
    those of ``prefix``.
    """
    names = store.list()
    if names is None:
        content = store.read(ORDER_NAME)
        records = [] if content is None else [(ORDER_NAME, content)]
    else:
        found = [name for name in sorted(names) if name == ORDER_NAME or name.endswith(f"_{ORDER_NAME}")]
        records = [(name, store.read(name) or b"") for name in found]
    places = {}
    for name, content in records:
        record = parse_record(content, f"{store.name}/{name}")
        if isinstance(record, BlendRecord) or prefix is None or _owner(record.label, names) in (prefix, None):
            places[record.label] = OrderPlace(store, record.label, record)
    for name in sorted(names or ()):
        for style, suffixes in _SUFFIXES.items():
            label = name.removesuffix(suffixes[0])
            if label == name or label in places:
                continue
            other = not label.startswith(f"{prefix}_") or _owner(label, names) not in (prefix, None)
            if style == "neox" and prefix is not None and other:
                continue
            places[label] = OrderPlace(store, label, None, style)
    return list(places.values())


def _owner(label: str, names: Container[str] | None) -> str | None:
    """The dataset among the files ``names`` with the longest prefix that ``label`` begins with."""
    parts = label.split("_")
    prefixes = ("_".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((prefix for prefix in prefixes if f"{prefix}.idx" in (names or ())), None)


def _beside(store: Store, prefix: str, io: Io) -> list[OrderPlace]:
    """Orders in the dataset's directory and where Megatron-Core keeps its own by default."""
    places = list_orders(store, prefix)
    if store.path is not None:
        cache = store.path / prefix / "cache" / "GPTDataset_indices"
        if cache.is_dir():
            places += list_orders(LocalStore(cache, io), None)
    return places


def find_order(
    store: Store,
    prefix: str,
    order: str | os.PathLike[str] | None,
    *,
    io: Io = "mmap",
    cache: BlockCache | None = None,
) -> OrderPlace:
    """Return the order named ``order`` of the token dataset with ``prefix`` in ``store``.

    ``order`` is a label or an order's name among those beside the dataset, "sequential", a directory or
    URL that holds one order, or the path of an ``order.json``, of a label or of a ``_doc_idx.npy``;
    None takes the only one; ``io`` and ``cache`` are for an order that is elsewhere (see ``open_store``).
    Raises ParameterError where one must be named, and lists them.
    """
    beside = _beside(store, prefix, io)
    where = f"{store.name}/{prefix}"
    if order is None:
        return _only(beside, where)
    name = os.fspath(order)
    matching = [place for place in beside if name in _names(place, prefix)]
    if matching:
        return _only(matching, f"{where}, order {name}")
    if name == SEQUENTIAL:
        return OrderPlace(store, SEQUENTIAL, None, SEQUENTIAL)
    found = unlisted_order(store, name) if name_problem(name) is None else None
    found = found or _elsewhere(
        name, prefix, lambda location: open_store(location, io=io, cache=cache, near=store)
    )
    if found is not None:
        return found
    known = ", ".join(place.label for place in beside) or "none"
    raise ParameterError(f"{where}: no order {without_credentials(name)!r}; beside the dataset: {known}")


def _elsewhere(name: str, prefix: str, opened: Callable[[str], Store]) -> OrderPlace | None:
    """Return the order that the path or URL ``name`` leads to, or None."""
    if not is_url(name) and Path(name).is_dir():
        return _only(list_orders(opened(name), prefix), name)
    folder, file = split_last(name) if is_url(name) else name.rpartition("/")[::2]
    shown = without_credentials(name)
    if is_url(name):
        found = list_orders(opened(name), prefix)
        if found:
            return _only(found, shown)
    elif not Path(folder or ".").is_dir():
        return None
    store = opened(folder or ".")
    if file.endswith(".json"):
        content = store.read(file)
        if content is None:
            return None
        record = parse_record(content, shown)
        return OrderPlace(store, record.label, record)
    label = file
    for suffix in (suffixes[0] for suffixes in _SUFFIXES.values()):
        label = label.removesuffix(suffix)
    for place in list_orders(store, None):
        if place.label == label:
            return place
    return unlisted_order(store, file)


def unlisted_order(store: Store, file: str) -> OrderPlace | None:
    """Return the order whose label or ``_doc_idx.npy`` is ``file``, where a server lists no files."""
    if store.list() is not None:
        return None
    name = f"{file.removesuffix(_SUFFIXES['neox'][0])}_{ORDER_NAME}"
    if (content := store.read(name)) is not None:
        record = parse_record(content, f"{store.name}/{name}")
        return OrderPlace(store, record.label, record)
    for style, suffixes in _SUFFIXES.items():
        label = file.removesuffix(suffixes[0])
        if label == file and not (style == "neox" and MapNames.parse(label)):
            continue
        try:
            store.open(label + suffixes[0])
        except MissingFileError:
            continue
        return OrderPlace(store, label, None, style)
    return None


def _names(place: OrderPlace, prefix: str) -> set[str]:
    names = {place.label, place.label.removeprefix(f"{prefix}_")}
    if isinstance(place.record, OrderRecord):
        names.add(place.record.name)
    elif parsed := MapNames.parse(place.label):
        names.add(parsed.base.removeprefix(f"{prefix}_"))
    return names


def _only(places: list[OrderPlace], where: str) -> OrderPlace:
    if not places:
        raise PileToolsError(f"{where}: no order; make one with `pile-tools order`")
    if len(places) > 1:
        labels = ", ".join(place.label for place in places)
        raise ParameterError(f"{where}: several orders; name one with --order (order=): {labels}")
    return places[0]


@dataclass(frozen=True, slots=True)
class OrderMaps:
    """The three arrays of an order (see ``algorithms.recipes.Order``), mapped or read where they are."""

    doc_idx: ArrayView
    sample_idx: ArrayView
    shuffle_idx: ArrayView

    @property
    def n_samples(self) -> int:
        return len(self.shuffle_idx)

    @classmethod
    def open(cls, place: OrderPlace) -> Self:
        """Open the arrays of ``place``; raise DataError unless types and shapes agree."""
        record = place.record
        parsed = MapNames.parse(place.label)
        if parsed is not None and not parsed.is_packed:
            raise PileToolsError(
                f"{place.name}: maps of the packing {parsed.packing.removeprefix('_')}, whose samples are "
                "padded or cut; only maps of GPT-NeoX's packing `packed` are read"
            )
        names = place.file_names()
        entries = record.files if record is not None else (None, None, None)
        if len(entries) != len(names):
            raise DataError(
                f"{place.name}: its record lists {len(entries)} files, not {', '.join(names)}; make it again"
            )
        sources = []
        for name, entry in zip(names, entries, strict=True):
            if entry is not None and entry.name != name:
                raise DataError(f"{place.name}: its record lists {entry.name}, not {name}; make it again")
            try:
                sources.append(place.store.open(name) if entry is None else open_listed(place.store, entry))
            except MissingFileError:
                raise UnfinishedError(
                    f"{place.store.name}/{name}: missing; run `pile-tools order` again"
                ) from None
        doc_idx = read_array(sources[0], 1, ("int32",))
        sample_idx = read_array(sources[1], 2, ("int32", "int64"))
        shuffle_idx = read_array(sources[2], 1, ("uint32", "int64"))
        if sample_idx.shape[1] != 2 or len(sample_idx) < 2:
            raise DataError(f"{sources[1].name}: shape {sample_idx.shape}, not (samples + 1, 2)")
        if len(shuffle_idx) != len(sample_idx) - 1:
            raise DataError(
                f"{sources[2].name}: {len(shuffle_idx)} samples, but {names[1]} has {len(sample_idx) - 1}"
            )
        return cls(doc_idx, sample_idx, shuffle_idx)
