"""``order.json``: the record of an order, or of a blend of several.

An order is one dataset's: three index maps (none for a sequential order). A blend names several token
datasets with an order each, and two arrays that say for each sample which of them it is from.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FILE_ENTRY, FileEntry, canonical_json
from pile_tools.storage.records import (
    RecordKind,
    boolean,
    fields,
    file_name,
    integer,
    items,
    location,
    optional,
    text,
)

__all__ = ["ORDER_NAME", "BlendPart", "BlendRecord", "KeptOrder", "OrderRecord", "parse_record"]

ORDER_NAME: Final = "order.json"
_ORDER_FORMAT: Final = "pile-tools order 1"
_BLEND_FORMAT: Final = "pile-tools blend 1"


@dataclass(frozen=True, slots=True)
class KeptOrder:
    """The order of another token dataset of the same corpus whose doc_idx an order keeps.

    ``label`` and ``record`` name it (see ``OrderRecord.identity``), ``dataset`` and ``manifest`` its
    dataset as its record does; ``last_apart``: the last epoch is shuffled apart (``megatron-core``).
    """

    label: str
    record: str
    dataset: str | None
    manifest: str | None
    last_apart: bool


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """``order.json`` of one dataset.

    ``documents`` is the range of documents used; ``split`` the split whose part they are. Samples
    [first_sample, first_sample + samples) of the stream are read in training. ``index`` and
    ``dataset`` are the identities of the index and of all of the token dataset (None where the order was made
    behind a URL), which has so many ``sequences`` and ``data_bytes``, and ``manifest`` that of its manifest,
    if it has one. ``digests`` is the root of the digests of its steps, once they
    have been made (see ``formats.digests_npy``). ``like`` is the order whose documents it keeps, if any:
    of such a one ``epochs`` is a parameter, and not what ``num_samples`` needs. ``origins``: the identity of
    ``origins.json``, which says what documents the sequences are pieces of, where they were fetched.
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
    documents: tuple[int, int]
    split: str | None
    index: str
    dataset: str | None
    manifest: str | None
    sequences: int
    data_bytes: int
    files: tuple[FileEntry, ...]
    first_sample: int = 0
    digests: str | None = None
    like: KeptOrder | None = None
    origins: str | None = None

    def to_bytes(self) -> bytes:
        return _to_bytes(self, _ORDER_FORMAT)

    @property
    def identity(self) -> str:
        """SHA-256 of the record as it was when the order was made, before its steps were digested."""
        return hashlib.sha256(replace(self, digests=None).to_bytes()).hexdigest()

    def write(self, path: Path) -> None:
        """Write the record whole or not at all."""
        with atomic_write(path) as file:
            file.write(self.to_bytes())

    def difference(self, dataset: TokenDataset) -> tuple[str, str] | None:
        """Return in what another dataset than ``dataset`` was meant, and what is found; None for this one.

        Tokens are not compared where the dataset is behind a URL or was when the order was made.
        """
        pairs = [
            (f"{self.sequences} sequences", f"{dataset.n_sequences} sequences"),
            (f"{self.data_bytes} bytes", f"{dataset.data_bytes} bytes"),
        ]
        if self.manifest is not None and dataset.manifest is not None:
            pairs.append((self.manifest[:12], dataset.manifest.identity[:12]))
        pairs.append((self.index[:12], dataset.index_identity[:12]))
        if self.dataset is not None and not dataset.is_remote:
            pairs.append((self.dataset[:12], dataset.identity[:12]))
        return next((pair for pair in pairs if pair[0] != pair[1]), None)

    def is_sound(self) -> bool:
        """Whether its numbers agree with each other."""
        start, stop = self.documents
        return (
            self.first_sample + self.samples <= self.num_samples
            and self.steps == self.samples // self.batch_size
            and start <= stop
        )


@dataclass(frozen=True, slots=True)
class BlendPart:
    """One dataset of a blend: ``data`` its prefix, relative to the record, and the label of its order.

    Where it is read through an overlay, ``data`` is the overlay's directory, ``order`` the one that it
    changes and ``overlay`` the identity of its record.
    """

    data: str
    order: str
    weight: str
    overlay: str | None = None


@dataclass(frozen=True, slots=True)
class BlendRecord:
    """``order.json`` of a blend; the first ``samples`` samples of the blend are read in training."""

    label: str
    recipe: str
    seed: int
    seq_length: int
    batch_size: int
    num_samples: int
    samples: int
    steps: int
    parts: tuple[BlendPart, ...]
    files: tuple[FileEntry, ...]
    digests: str | None = None

    def to_bytes(self) -> bytes:
        return _to_bytes(self, _BLEND_FORMAT)

    def write(self, path: Path) -> None:
        """Write the record whole or not at all."""
        with atomic_write(path) as file:
            file.write(self.to_bytes())

    def is_sound(self) -> bool:
        """Whether its numbers agree with each other."""
        return self.samples <= self.num_samples and self.steps == self.samples // self.batch_size


def _to_bytes(record: OrderRecord | BlendRecord, form: str) -> bytes:
    value = asdict(record) | {"format": form, "files": [entry.to_json() for entry in record.files]}
    # Absent until the steps have been digested, of an order that keeps no other's documents, and of all that
    # was not fetched.
    for name in ("digests", "like", "origins"):
        if value.get(name, "") is None:
            del value[name]
    for part in value.get("parts", ()):
        if part["overlay"] is None:
            del part["overlay"]
    return canonical_json(value)


_LABEL: Final = file_name(nested=False)
"""The shape of what names of files begin with."""
_COMMON: Final = {
    "label": _LABEL,
    "recipe": text(),
    "seed": integer(),
    "seq_length": integer(1),
    "batch_size": integer(1),
    "num_samples": integer(1),
    "samples": integer(1),
    "steps": integer(),
}
_KEPT: Final = fields(
    {
        "label": _LABEL,
        "record": text(),
        "dataset": optional(text()),
        "manifest": optional(text()),
        "last_apart": boolean(),
    },
    KeptOrder,
)
_ORDER: Final = fields(
    _COMMON
    | {
        "name": _LABEL,
        "epochs": integer(1),
        "documents": items(integer(), 2, 2),
        "split": optional(text()),
        "index": text(),
        "dataset": optional(text()),
        "manifest": optional(text()),
        "sequences": integer(),
        "data_bytes": integer(),
        "files": items(FILE_ENTRY),
        "first_sample": integer(),
    },
    OrderRecord,
    absent={"digests": text(), "like": _KEPT, "origins": text()},
)
_PART: Final = fields(
    {"data": location(), "order": _LABEL, "weight": text()}, BlendPart, absent={"overlay": text()}
)
_BLEND: Final = fields(
    _COMMON | {"parts": items(_PART, 1), "files": items(FILE_ENTRY, 2, 2)},
    BlendRecord,
    absent={"digests": text()},
)
_RECORD: Final = RecordKind[OrderRecord | BlendRecord](
    "an order",
    "remove it and run `pile-tools order` again",
    {_ORDER_FORMAT: _ORDER, _BLEND_FORMAT: _BLEND},
    lambda record: record.to_bytes(),
    lambda record: record.is_sound(),
)


def parse_record(content: bytes, name: str) -> OrderRecord | BlendRecord:
    """Return the record that ``content``, the bytes of the file ``name``, holds.

    Raises DataError for anything but what ``write`` wrote.
    """
    return _RECORD.read(content, name)
