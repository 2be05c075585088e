"""``digests.npy``: XXH3-128 of the bytes of every step of a stream, and ``digests.json`` beside it.

``digests.npy`` is uint8 [steps, 16], big endian as XXH3-128 is written: row i is that of the array
[batch_size, seq_length + 1] of tokens, in C order and little endian, of step first_step + i.
``digests.json`` says of which steps, batch size and dtype, names the stream by its identity, and holds
the root: the SHA-256 of all rows end to end. An ``order.json`` whose steps were digested holds the root too.
Beside an order that is not the one in ``order.json``, both names begin with the order's label and "_".
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import orjson

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.map_files import read_array
from pile_tools.formats.names import check_name, path_inside
from pile_tools.formats.npy import write_npy
from pile_tools.formats.order_record import ORDER_NAME, parse_record
from pile_tools.formats.sources import MissingFileError
from pile_tools.formats.store import LocalStore, Store

__all__ = [
    "DIGEST_BYTES",
    "DigestRecord",
    "Digests",
    "digest_names",
    "digest_prefix",
    "list_records",
    "read_digests",
    "read_digests_of",
    "root_of",
    "write_digests",
]

DIGEST_BYTES: Final = 16
_FORMAT: Final = "pile-tools digests 1"
_ARRAY: Final = "digests.npy"
_RECORD: Final = "digests.json"

Digests = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DigestRecord:
    """What ``digests.npy`` holds the digests of: steps [``first_step``, ``steps``) of ``stream``."""

    label: str
    stream: str
    batch_size: int
    seq_length: int
    dtype: str
    first_step: int
    steps: int
    root: str

    def to_bytes(self) -> bytes:
        return canonical_json(asdict(self) | {"format": _FORMAT})

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Return the record in ``content``, the bytes of the file ``name``; DataError for anything else."""
        try:
            value: dict[str, Any] = orjson.loads(content)
            if value.pop("format") != _FORMAT:
                raise DataError(f"{name}: not digests that this version reads ({_FORMAT!r})")
            record = cls(**value)
            check_name(record.label, name, nested=False)
            same = record.to_bytes() == content and 0 <= record.first_step < record.steps
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{name}: not a record of digests ({error}); make them again") from None
        if not same:
            raise DataError(f"{name}: edited by hand or damaged; make the digests again")
        return record


def root_of(digests: Digests) -> str:
    """Return the SHA-256 of digests uint8 [n, 16], end to end, as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(digests).data).hexdigest()


def digest_prefix(store: Store, label: str) -> str:
    """Return what the names of the digests of the order ``label`` in ``store`` begin with.

    Digests of it that lie there under another name are found by their record.
    """
    content = store.read(ORDER_NAME)
    is_first = content is not None and parse_record(content, f"{store.name}/{ORDER_NAME}").label == label
    prefix = "" if is_first else f"{label}_"
    if store.path is None or (store.path / f"{prefix}{_RECORD}").exists():
        return prefix
    return next((found for found, record in list_records(store.path) if record.label == label), prefix)


def digest_names(prefix: str) -> tuple[str, str]:
    """Return the names of digests and of their record, which begin with ``prefix``."""
    return f"{prefix}{_ARRAY}", f"{prefix}{_RECORD}"


def list_records(directory: Path) -> list[tuple[str, DigestRecord]]:
    """Return the records of all digests in ``directory``, each with what its name begins with."""
    if not directory.is_dir():
        return []
    paths = sorted([*directory.glob(_RECORD), *directory.glob(f"*_{_RECORD}")])
    return [
        (path.name.removesuffix(_RECORD), DigestRecord.parse(path.read_bytes(), str(path))) for path in paths
    ]


def read_digests_of(directory: Path, label: str) -> tuple[DigestRecord, Digests] | None:
    """Return the digests in ``directory`` for a stream with the order ``label``, None where there are none.

    Of several, those of that order, else ``digests.npy``. Raises ParameterError where neither is there.
    """
    records = list_records(directory)
    if not records:
        return None
    own = [prefix for prefix, record in records if record.label == label]
    prefixes = [prefix for prefix, _ in records]
    if len(records) == 1 or len(own) == 1:
        prefix = (own or prefixes)[0]
    elif "" in prefixes:
        prefix = ""
    else:
        labels = ", ".join(record.label for _, record in records)
        raise ParameterError(
            f"{directory}: digests of several orders ({labels}), and none of {label}; copy those to compare "
            "with to a directory of their own"
        )
    return read_digests(LocalStore(directory), prefix)


def write_digests(directory: Path, prefix: str, record: DigestRecord, digests: Digests) -> Path:
    """Write digests and their record, which comes last; return the path of the digests."""
    path, record_path = (path_inside(directory, name) for name in digest_names(prefix))
    write_npy(path, digests)
    with atomic_write(record_path) as file:
        file.write(record.to_bytes())
    return path


def read_digests(store: Store, prefix: str) -> tuple[DigestRecord, Digests] | None:
    """Return the record and the digests in ``store``, None where there is no record.

    Raises DataError unless they belong together.
    """
    name, array = (f"{store.name}/{prefix}{file}" for file in (_RECORD, _ARRAY))
    content = store.read(f"{prefix}{_RECORD}")
    if content is None:
        return None
    record = DigestRecord.parse(content, name)
    try:
        view = read_array(store.open(f"{prefix}{_ARRAY}"), 2, ("uint8",))
    except MissingFileError:
        raise DataError(f"{array}: missing; make the digests again with `pile-tools digest`") from None
    if view.shape != (record.steps - record.first_step, DIGEST_BYTES):
        raise DataError(f"{array}: shape {view.shape}, not the digests that {prefix}{_RECORD} describes")
    digests: Digests = view.whole().copy()  # a mapped file may be replaced
    if root_of(digests) != record.root:
        raise DataError(f"{array}: not the digests whose root is in {prefix}{_RECORD}; make them again")
    return record, digests
