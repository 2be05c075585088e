"""``order.json``: the record of an order, or of a blend of several.

An order is one dataset's: three index maps (none for a sequential order). A blend names several token
datasets with an order each, and two arrays that say for each sample which of them it is from.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import orjson

from pile_tools.errors import DataError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import FileEntry, canonical_json
from pile_tools.formats.names import check_name
from pile_tools.formats.token_dataset import TokenDataset

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

    def _is_sound(self) -> bool:
        return (
            all(isinstance(text, str) for text in (self.label, self.record))
            and isinstance(self.dataset, str | None)
            and isinstance(self.manifest, str | None)
            and isinstance(self.last_apart, bool)
        )


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """``order.json`` of one dataset.

    ``documents`` is the range of documents used; ``split`` the split whose part they are. Samples
    [first_sample, first_sample + samples) of the stream are read in training. ``index`` and
    ``dataset`` are the identities of the index and of all of the token dataset (None where the order was made
    behind a URL), which has so many ``sequences`` and ``data_bytes``, and ``manifest`` that of its manifest,
    if it has one. ``digests`` is the root of the digests of its steps, once they
    have been made (see ``formats.digest_files``). ``like`` is the order whose documents it keeps, if any:
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

    @classmethod
    def _of(cls, value: Mapping[str, Any], name: str) -> Self:
        files = tuple(FileEntry.from_json(entry, name) for entry in value["files"])
        start, stop = value["documents"]
        like = KeptOrder(**value["like"]) if "like" in value else None
        return cls(**{**value, "files": files, "documents": (start, stop), "like": like})

    def _labels(self) -> list[str]:
        """Return what names of files begin with."""
        return [self.label, self.name, *([] if self.like is None else [self.like.label])]

    def _is_sound(self) -> bool:
        counts = (self.seq_length, self.batch_size, self.num_samples, self.samples, self.epochs)
        places = (self.first_sample, self.steps, *self.documents, self.sequences, self.data_bytes, self.seed)
        texts = (self.label, self.recipe, self.name, self.index)
        return (
            all(type(number) is int and number > 0 for number in counts)
            and all(type(number) is int and number >= 0 for number in places)
            and all(isinstance(text, str) for text in texts)
            and isinstance(self.dataset, str | None)
            and isinstance(self.manifest, str | None)
            and isinstance(self.split, str | None)
            and isinstance(self.digests, str | None)
            and (self.like is None or self.like._is_sound())
            and isinstance(self.origins, str | None)
            and self.first_sample + self.samples <= self.num_samples
            and self.steps == self.samples // self.batch_size
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

    @classmethod
    def _of(cls, value: Mapping[str, Any], name: str) -> Self:
        files = tuple(FileEntry.from_json(entry, name) for entry in value["files"])
        return cls(**{**value, "files": files, "parts": tuple(BlendPart(**part) for part in value["parts"])})

    def _labels(self) -> list[str]:
        """Return what names of files begin with."""
        return [self.label, *(part.order for part in self.parts)]

    def _is_sound(self) -> bool:
        counts = (self.seq_length, self.batch_size, self.num_samples, self.samples)
        texts = [self.label, self.recipe]
        texts += [text for part in self.parts for text in asdict(part).values() if text is not None]
        return (
            all(type(number) is int and number > 0 for number in counts)
            and all(isinstance(text, str) for text in texts)
            and len(self.parts) > 0
            and len(self.files) == 2
            and self.samples <= self.num_samples
            and self.steps == self.samples // self.batch_size
            and isinstance(self.digests, str | None)
        )


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


def parse_record(content: bytes, name: str) -> OrderRecord | BlendRecord:
    """Return the record that ``content``, the bytes of the file ``name``, holds.

    Raises DataError for anything but what ``write`` wrote.
    """
    record: OrderRecord | BlendRecord
    try:
        value: dict[str, Any] = orjson.loads(content)
        kind = value.pop("format")
        if kind == _ORDER_FORMAT:
            record = OrderRecord._of(value, name)
        elif kind == _BLEND_FORMAT:
            record = BlendRecord._of(value, name)
        else:
            raise DataError(f"{name}: not an order that this version reads ({_ORDER_FORMAT!r})")
        for label in record._labels():
            check_name(label, name, nested=False)
        same = record.to_bytes() == content and record._is_sound()
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{name}: not an order ({error}); remove it and run `pile-tools order` again"
        ) from None
    if not same:
        raise DataError(f"{name}: edited by hand or damaged; remove it and run `pile-tools order` again")
    return record
