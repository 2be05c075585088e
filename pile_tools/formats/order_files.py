"""The files of an order: three ``.npy`` arrays under GPT-NeoX's names, and ``order.json``.

``{prefix}_{name}_indexmap_{num_samples}ns_{seq_length}sl_{seed}s_{doc,sample,shuffle}_idx.npy``; what
comes before ``_doc_idx.npy`` is the order's label, by which it is named where there are several.
"""

import hashlib
import math
import mmap
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
import orjson

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import FileEntry, canonical_json, file_entry

__all__ = [
    "ORDER_NAME",
    "MapNames",
    "OrderMaps",
    "OrderPlace",
    "OrderRecord",
    "find_order",
    "list_orders",
    "read_array",
    "write_array",
]

ORDER_NAME: Final = "order.json"
_FORMAT: Final = "pile-tools order 1"
_LABEL: Final = re.compile(r"(.+)_indexmap_(\d+)ns_(\d+)sl_(\d+)s")
_BLOCK: Final = 1 << 20
_READ_HEADER: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_ARRAYS: Final = ("doc_idx", "sample_idx", "shuffle_idx")


@dataclass(frozen=True, slots=True)
class MapNames:
    """What the file names of index maps say. ``base`` is the dataset's prefix, "_" and the order's name."""

    base: str
    num_samples: int
    seq_length: int
    seed: int

    @property
    def label(self) -> str:
        return f"{self.base}_indexmap_{self.num_samples}ns_{self.seq_length}sl_{self.seed}s"

    @classmethod
    def parse(cls, label: str) -> Self | None:
        """Return what ``label`` says, or None where it is not of GPT-NeoX's form."""
        match = _LABEL.fullmatch(label)
        return cls(match[1], int(match[2]), int(match[3]), int(match[4])) if match else None


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """``order.json``.

    ``samples`` is the length of the stream: the first so many samples of the order are read in training.
    ``dataset`` is the identity of the token dataset and ``manifest`` that of its manifest, if it has one.
    """

    label: str
    recipe: str
    name: str
    seed: int
    seq_length: int
    batch_size: int
    num_samples: int
    samples: int
    steps: int
    epochs: int
    dataset: str
    manifest: str | None
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        value = asdict(self) | {"format": _FORMAT, "files": [entry.to_json() for entry in self.files]}
        return canonical_json(value)

    def write(self, path: Path) -> None:
        with atomic_write(path) as file:
            file.write(self.to_bytes())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check ``order.json``; DataError for anything but what ``write`` wrote."""
        content = path.read_bytes()
        try:
            value: dict[str, Any] = orjson.loads(content)
            if value.pop("format") != _FORMAT:
                raise DataError(f"{path}: not an order that this version reads ({_FORMAT!r})")
            files = tuple(FileEntry.from_json(entry) for entry in value.pop("files"))
            record = cls(**value, files=files)
            same = record.to_bytes() == content
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: not an order ({error}); run `pile-tools order` again") from None
        if not same or not _sound(record):
            raise DataError(f"{path}: edited by hand or damaged; run `pile-tools order` again")
        return record


def _sound(record: OrderRecord) -> bool:
    numbers = (record.seq_length, record.batch_size, record.num_samples, record.epochs)
    return (
        all(type(number) is int and number > 0 for number in numbers)
        and type(record.samples) is int
        and 0 < record.samples <= record.num_samples
        and record.steps == record.samples // record.batch_size
        and all(isinstance(text, str) for text in (record.label, record.recipe, record.name, record.dataset))
    )


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """Where an order is: its directory and label, and its record unless another tool wrote the maps."""

    directory: Path
    label: str
    record: OrderRecord | None

    def path(self, array: str) -> Path:
        return self.directory / f"{self.label}_{array}.npy"

    @property
    def name(self) -> str:
        """The path by which messages name the order."""
        return str(self.directory / self.label)


def list_orders(directory: Path, prefix: str) -> list[OrderPlace]:
    """Return the orders in ``directory``: those with an ``order.json``, then bare maps of ``prefix``."""
    places = {}
    for path in sorted([*directory.glob(ORDER_NAME), *directory.glob(f"*_{ORDER_NAME}")]):
        record = OrderRecord.read(path)
        places[record.label] = OrderPlace(directory, record.label, record)
    suffix = f"_{_ARRAYS[0]}.npy"
    for path in sorted(directory.glob(f"{_literal(prefix)}_*{suffix}")):
        label = path.name.removesuffix(suffix)
        if label not in places and MapNames.parse(label):
            places[label] = OrderPlace(directory, label, None)
    return list(places.values())


def _literal(text: str) -> str:
    """``text`` as a glob pattern that matches itself only."""
    return re.sub(r"([*?[])", r"[\1]", text)


def find_order(prefix: Path, order: str | os.PathLike[str] | None) -> OrderPlace:
    """Return the order named ``order`` of the token dataset at ``prefix``.

    ``order`` is a label or an order's name among those beside the dataset, a directory that holds one
    order, or the path of an ``order.json``, of a label or of a ``_doc_idx.npy``; None takes the only
    one. Raises ParameterError where one must be named, and lists them.
    """
    beside = list_orders(prefix.parent, prefix.name)
    if order is None:
        return _only(beside, str(prefix))
    name = os.fspath(order)
    matching = [place for place in beside if name in _names(place, prefix.name)]
    if matching:
        return _only(matching, f"{prefix}, order {name}")
    path = Path(name)
    if path.is_dir():
        return _only(list_orders(path, prefix.name), str(path))
    if path.suffix == ".json" and path.is_file():
        record = OrderRecord.read(path)
        return OrderPlace(path.parent, record.label, record)
    label = path.name.removesuffix(f"_{_ARRAYS[0]}.npy")
    for place in list_orders(path.parent, label.partition("_")[0]) if path.parent.is_dir() else []:
        if place.label == label:
            return place
    known = ", ".join(place.label for place in beside) or "none"
    raise ParameterError(f"{prefix}: no order {name!r}; beside the dataset: {known}")


def _names(place: OrderPlace, prefix: str) -> set[str]:
    names = {place.label, place.label.removeprefix(f"{prefix}_")}
    if place.record:
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
    """The three arrays of an order, memory-mapped (see ``algorithms.recipes.Order``)."""

    doc_idx: npt.NDArray[np.int32]
    sample_idx: npt.NDArray[Any]
    shuffle_idx: npt.NDArray[Any]

    @property
    def n_samples(self) -> int:
        return len(self.shuffle_idx)

    @classmethod
    def open(cls, place: OrderPlace) -> Self:
        """Map the arrays of ``place``; raise DataError unless types and shapes agree."""
        paths = [place.path(array) for array in _ARRAYS]
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise UnfinishedError(f"{missing[0]}: missing; run `pile-tools order` again")
        doc_idx = read_array(paths[0], 1, ("int32",))
        sample_idx = read_array(paths[1], 2, ("int32", "int64"))
        shuffle_idx = read_array(paths[2], 1, ("uint32", "int64"))
        if sample_idx.shape[1] != 2 or len(sample_idx) < 2:
            raise DataError(f"{paths[1]}: shape {sample_idx.shape}, not (samples + 1, 2)")
        if len(shuffle_idx) != len(sample_idx) - 1:
            raise DataError(
                f"{paths[2]}: {len(shuffle_idx)} samples, but {paths[1].name} has {len(sample_idx) - 1}"
            )
        record = place.record
        for path, entry in zip(paths, record.files if record else (), strict=False):
            if entry.name != path.name or entry.bytes != path.stat().st_size:
                raise DataError(f"{path}: not the file that {ORDER_NAME} describes; make the order again")
        return cls(doc_idx, sample_idx, shuffle_idx)


def read_array(path: Path, ndim: int, dtypes: tuple[str, ...]) -> npt.NDArray[Any]:
    """Map a ``.npy`` file, read-only, once its header and its length agree.

    Raises DataError unless it has ``ndim`` dimensions, one of ``dtypes`` (little endian) and C order.
    """
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        try:
            shape, fortran_order, dtype = _READ_HEADER[np.lib.format.read_magic(file)](file)
        except (ValueError, KeyError) as error:
            raise DataError(f"{path}: not a readable .npy array ({error})") from None
        start = file.tell()
        known = [np.dtype(name).newbyteorder("<") for name in dtypes]
        if len(shape) != ndim or dtype not in known or (fortran_order and ndim > 1):
            raise DataError(
                f"{path}: {dtype.str} of shape {shape}, not {' or '.join(dtypes)} in {ndim} dimension(s) "
                "in C order"
            )
        count = math.prod(shape)
        if length != start + count * dtype.itemsize:
            raise DataError(
                f"{path}: {length} bytes, but its header needs {start + count * dtype.itemsize}; it is "
                "damaged, copy or make it again"
            )
        if count == 0:
            return np.empty(shape, dtype)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(mapped, dtype, count, start).reshape(shape)


class _Hashing:
    """A file to write to that counts and hashes what passes on its way to ``file`` (None: nowhere)."""

    def __init__(self, file: BinaryIO | None) -> None:
        self.file = file
        self.state = hashlib.sha256()
        self.bytes = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.state.update(view)
        self.bytes += len(view)
        if self.file is not None:
            self.file.write(view)
        return len(view)


def _save(name: str, array: npt.NDArray[Any], file: BinaryIO | None) -> FileEntry:
    """Write the bytes of `numpy.save` in blocks, so that a mapped file costs no second array."""
    hashing = _Hashing(file)
    np.lib.format.write_array_header_1_0(hashing, np.lib.format.header_data_from_array_1_0(array))
    flat = array.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        hashing.write(np.ascontiguousarray(flat[start : start + _BLOCK]))
    return FileEntry(name, hashing.bytes, hashing.state.hexdigest())


def write_array(path: Path, array: npt.NDArray[Any]) -> FileEntry:
    """Write ``array`` as `numpy.save` does, whole or not at all; return its entry for ``order.json``.

    A file that is there already must hold the same bytes; DataError for any other.
    """
    if path.exists():
        entry = _save(path.name, array, None)
        if file_entry(path) != entry:
            raise DataError(
                f"{path}: holds another array than this order; remove it or choose another --name"
            )
        return entry
    with atomic_write(path) as file:
        return _save(path.name, array, file)
