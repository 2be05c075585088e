"""Mutated files: whatever became of a record, an array or a table, its reader answers or raises our error."""

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pile_tools.corpus.records import ReadCounts
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.digests_npy import DigestRecord
from pile_tools.formats.documents_parquet import Provenance, ProvenanceWriter, provenance_table
from pile_tools.formats.locations_json import parse_locations
from pile_tools.formats.mmidx import read_index, write_index
from pile_tools.formats.npy import NpyFile, read_array
from pile_tools.formats.order_json import BlendPart, BlendRecord, KeptOrder, OrderRecord, parse_record
from pile_tools.formats.origins_json import OriginDataset, OriginsRecord
from pile_tools.formats.overlay_json import OverlayRecord, ParentPlace
from pile_tools.formats.tables import read_table, write_table
from pile_tools.jobs.workspace import InputFile, Workspace
from pile_tools.stages.dedup.sign import write_info
from pile_tools.stages.dedup.tables import DEDUP_SCHEMA
from pile_tools.stages.dedup.work_files import read_info
from pile_tools.stages.tokenize.shard import Part
from pile_tools.storage.manifest import FileEntry, Manifest, canonical_json
from pile_tools.storage.sources import MappedFile
from pile_tools.suites import Suite
from pile_tools.train.checkpoint_files import read_layout
from pile_tools.train.record import DataRecord, Segment, Stream

HASH = "0" * 64
ENTRY = FileEntry("folder/a.bin", 10, HASH)
LABEL = "document_train_0"
ORDER = OrderRecord(
    *(LABEL, "neox", "train_0", 1, 8, 4, 40, 40, 10, 1, (0, 3), "1,1", HASH, HASH, None, 3, 90, (ENTRY,)),
    digests=HASH,
    like=KeptOrder(LABEL, HASH, None, None, False),
)
BLEND = BlendRecord(
    LABEL, "neox", 1, 8, 4, 40, 40, 10, (BlendPart("../a", LABEL, "0.5", HASH),), (ENTRY, ENTRY)
)
ORIGINS = OriginsRecord(
    2,
    False,
    (OriginDataset(3, 10, 5, True, HASH, 0, False, ("a", None)),),
    tuple(FileEntry(name, 1, HASH) for name in ("piece_starts.npy", "pieces.npy", "documents-0.parquet")),
)
MANIFEST = Manifest(
    "tokenize",
    {"tokenizer": {"name": "t", "sha256": HASH}, "eod_id": 0, "dtype": "uint16"},
    [ENTRY],
    [FileEntry("b", 1, HASH, 3, HASH, "a")],
    {"documents": 3, "sources": {"a": {"documents": 3}}},
    [HASH],
    {"pyarrow": "1"},
)
SUITE: dict[str, Any] = {
    "format": "pile-tools suite 1",
    "name": "mine",
    "title": "Mine",
    "dataset": {
        "location": "../tokens",
        "prefix": "document",
        "sequence_tokens": 9,
        "dtype": "uint16",
        "shards": 2,
        "shard_bytes": 20,
        "last_shard_bytes": 10,
        "sequences": 3,
    },
    "order": {"recipe": "neox", "name": "train_0", "seeds": {"0": 1}, "num_samples": 40},
    "seq_length": 8,
    "batch_size": 4,
    "steps": 10,
    "tokenizer": None,
    "checkpoints": {"first": [0], "every": 5, "branch_factor": 2},
    "models": ["a/b"],
    "notes": [],
    "uncertain": ["c"],
}
PARSERS: dict[str, tuple[bytes, Callable[[bytes, str], object]]] = {
    "manifest.json": (MANIFEST.to_bytes(), Manifest.parse),
    "order.json": (ORDER.to_bytes(), parse_record),
    "order.json of a blend": (BLEND.to_bytes(), parse_record),
    "overlay.json": (OverlayRecord("p", 0, 4, 4, ((1, 2),), 0, (ENTRY,)).to_bytes(), OverlayRecord.parse),
    "parent.json": (canonical_json({"location": "../a", "order": None}), ParentPlace.parse),
    "origins.json": (ORIGINS.to_bytes(), OriginsRecord.parse),
    "digests.json": (DigestRecord(LABEL, HASH, 4, 8, "uint16", 0, 10, HASH).to_bytes(), DigestRecord.parse),
    "locations.json": (canonical_json({"a.jsonl": "../a.jsonl"}), parse_locations),
    "suite": (json.dumps(SUITE).encode(), Suite.parse),
}
DEEP = b'{"format":' + b"[" * 1000 + b"]" * 1000 + b"}"
VALUES = (None, True, 0, -1, 1.5, 10**12, 2**63, 10**30, "", "x", "../x", "a\0b", [], [[1]], {}, {"x": 1})


def mutated_json(content: bytes) -> Iterator[bytes]:
    """Every value replaced by one of each kind, every key deleted, and what is not JSON."""

    def edit(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        yield path, value
        entries = (
            value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
        )
        for key, item in entries:
            yield from edit(item, (*path, key))

    places = [path for path, _ in edit(json.loads(content), ())]
    for path in places:
        for new in (*VALUES, KeyError):
            root: Any = [json.loads(content)]
            holder, key = root, 0
            for step in path:
                holder, key = holder[key], step
            if new is KeyError:
                del holder[key]
            else:
                holder[key] = new
            if root:
                yield json.dumps(root[0], indent=2, sort_keys=True).encode() + b"\n"
    yield from (DEEP, content.replace(b"1", b"NaN", 1), b"\xff" + content, content * 2)


def mutated_bytes(content: bytes, count: int) -> Iterator[bytes]:
    """Truncated, extended and with bytes flipped, ``count`` of each.

    No byte of a Parquet file's footer is flipped: it has no checksum, and Arrow ends the process for some.
    """
    numbers = random.Random(len(content))
    is_parquet = content[-4:] == b"PAR1"
    end = len(content) - (8 + int.from_bytes(content[-8:-4], "little") if is_parquet else 0)
    for _ in range(count):
        yield content[: numbers.randrange(len(content))]
        yield content + numbers.randbytes(numbers.randrange(1, 20))
        flipped = bytearray(content)
        for _ in range(numbers.choice((1, 1, 2, 8))):
            flipped[numbers.randrange(end)] ^= numbers.randrange(1, 256)
        yield bytes(flipped)


@pytest.mark.parametrize("kind", PARSERS)
def test_records(kind: str) -> None:
    content, parse = PARSERS[kind]
    parse(content, "here/record.json")
    messages = []
    for changed in (*mutated_json(content), *mutated_bytes(content, 40)):
        try:
            parse(changed, "here/record.json")
        except DataError as error:
            messages.append(str(error))
    assert all(message.startswith("here/record.json: ") and "\n" not in message for message in messages)
    assert len(messages) > (100 if kind != "locations.json" else 60) or kind == "parent.json"


def write_job(directory: Path) -> Path:
    """Begin a job on a file, and leave it; return its record."""
    source = directory / "in.txt"
    source.write_text("x")
    with Workspace(
        directory / "out", stage="s", parameters={"n": 1}, inputs=[InputFile(source, "in.txt")]
    ) as space:
        (space.work / "made").touch()
    return directory / "out/.unfinished/job.json"


def resume_job(path: Path) -> None:
    directory = path.parents[2]
    inputs = [InputFile(directory / "in.txt", "in.txt")]
    with Workspace(directory / "out", stage="s", parameters={"n": 1}, inputs=inputs):
        pass


def write_summary(directory: Path) -> Path:
    summary = dict.fromkeys(("judged_documents", "documents", "text_bytes", "tokens", "token_bytes"), 1)
    summary |= dict.fromkeys(("empty_documents", "eod_inside", "max_id"), 1)
    value = summary | {
        "encoder": "e 1",
        "read": {"rows": 1},
        "first_skipped": "",
        "sources": {"": {"tokens": 1}},
    }
    path = directory / "part.json"
    path.write_bytes(canonical_json(value))
    return path


def write_info_file(directory: Path) -> Path:
    write_info(
        directory / "info.json", ReadCounts(rows=3, documents=2), sources=["a", None], skipped=[[1, "x"]]
    )
    return directory / "info.json"


def write_layout(directory: Path) -> Path:
    value = {"files": ["optimizer-0-of-1.safetensors"], "bounds": [0, 4], "offsets": {"w": 0}, "updates": 1}
    path = directory / "optimizer.json"
    path.write_bytes(canonical_json(value | {"loss_scale": [0, 0]}))
    return path


def write_data(directory: Path) -> Path:
    stream = Stream(HASH, (HASH,), LABEL, 8, 4)
    for name, content in DataRecord((Segment(stream, 0, 2),), bytes(32)).to_files().items():
        (directory / name).write_bytes(content)
    return directory / "data.json"


JSON_FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "job.json": (write_job, resume_job),
    "counts of a shard that was tokenized": (
        write_summary,
        lambda path: Part(path, path, path).read_summary(),
    ),
    "counts of a shard that was signed": (write_info_file, read_info),
    "optimizer.json": (write_layout, lambda path: read_layout(path.parent)),
    "data.json": (write_data, lambda path: DataRecord.read(path.parent)),
}


@pytest.mark.parametrize("kind", JSON_FILES)
def test_json_files(kind: str, tmp_path: Path) -> None:
    write, read = JSON_FILES[kind]
    path = write(tmp_path)
    content = path.read_bytes()
    read(path)
    messages = []
    changes = list(mutated_json(content))
    for changed in random.Random(7).sample(changes, min(len(changes), 150)) + list(
        mutated_bytes(content, 10)
    ):
        path.write_bytes(changed)
        try:
            read(path)
        except PileToolsError as error:
            messages.append(str(error))
    assert all(str(tmp_path) in message for message in messages)
    assert len(messages) > 50


def write_documents(path: Path) -> None:
    with path.open("wb") as file, ProvenanceWriter(file) as writer:
        for shard in ("a.jsonl", "b.jsonl"):
            writer.write(provenance_table(shard, range(9), ["x", None, "y"] * 3, [3] * 9, [bytes(16)] * 9))


def read_documents(path: Path) -> None:
    provenance = Provenance(path)
    provenance.lookup([len(provenance) - 1, 0])
    provenance.document_of("b.jsonl", 2)
    list(provenance.tables())


def write_removed(path: Path) -> None:
    columns = {
        "shard": ["a"] * 4,
        "row": range(4),
        "duplicate_of_shard": ["a"] * 4,
        "duplicate_of_row": [9] * 4,
    }
    write_table(path, pa.table(columns | {"jaccard": [0.9] * 4, "component": [1] * 4}, schema=DEDUP_SCHEMA))


def save(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.arange(12, dtype=np.int32).reshape(6, 2))


BINARY: dict[str, tuple[Callable[[Path], None], Callable[[Path], object], int]] = {
    ".npy that is published": (save, lambda path: read_array(MappedFile(path), 2, ("int32",)).whole(), 400),
    ".npy of work": (save, lambda path: NpyFile.open(path).read(), 400),
    ".idx": (lambda path: write_index(path, np.uint16, [3, 0, 5]), read_index, 200),
    "documents.parquet": (write_documents, read_documents, 150),
    "dedup.parquet": (write_removed, lambda path: read_table(path, DEDUP_SCHEMA, remedy="make it again"), 60),
}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.filterwarnings("ignore")  # NumPy's, of headers that Python 2 wrote
def test_binary_files(kind: str, tmp_path: Path) -> None:
    write, read, count = BINARY[kind]
    path = tmp_path / "file"
    write(path)
    read(path)
    messages = []
    for changed in mutated_bytes(path.read_bytes(), count):
        path = tmp_path / "changed"
        path.unlink(missing_ok=True)  # another file: the first one may be mapped
        path.write_bytes(changed)
        try:
            read(path)
        except PileToolsError as error:
            messages.append(str(error))
    assert all(str(path) in message for message in messages)
    assert len(messages) > count


@pytest.mark.parametrize(
    "shape", ["(True, 6)", "(-2, -6)", "(0, 10**30)", "(0, 1000000000000000000000)", "(" * 300 + ")" * 300]
)
def test_shapes_that_no_array_has(shape: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.empty((0, 6), np.int32))
    header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (1000 - len(header)) + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(buffer.getvalue()[:8] + len(header).to_bytes(2, "little") + header)
    for read in (lambda: read_array(MappedFile(path), 2, ("int32",)), lambda: NpyFile.open(path)):
        with pytest.raises(DataError, match=r"a\.npy"):
            read()


@pytest.mark.parametrize("column", DEDUP_SCHEMA.names)
def test_tables_with_nulls_or_without_a_column(column: str, tmp_path: Path) -> None:
    path = tmp_path / "dedup.parquet"
    write_removed(path)
    table = read_table(path, DEDUP_SCHEMA, remedy="make it again")
    index = table.column_names.index(column)
    write_table(path, table.drop_columns([column]))
    with pytest.raises(DataError, match=rf"dedup\.parquet: column '{column}' is missing; make it again"):
        read_table(path, DEDUP_SCHEMA, remedy="make it again")
    field = pa.field(column, DEDUP_SCHEMA.field(column).type)
    write_table(path, table.set_column(index, field, pa.nulls(4, field.type)))
    if DEDUP_SCHEMA.field(column).nullable:
        assert read_table(path, DEDUP_SCHEMA, remedy="").column(column).null_count == 4
    else:
        with pytest.raises(DataError, match=rf"column '{column}' holds nulls"):
            read_table(path, DEDUP_SCHEMA, remedy="make it again")
