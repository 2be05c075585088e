"""`origins.json`: comes back as written, and is refused in any other form."""

from dataclasses import replace

import pytest

from pile_tools.errors import DataError
from pile_tools.formats.origins_json import OriginDataset, OriginsRecord
from pile_tools.storage.manifest import FileEntry, canonical_json

DATASET = OriginDataset(
    documents=7, tokens=90, samples=11, addresses=True, manifest="a" * 64, first=0, packed_anew=False
)
FILES = tuple(FileEntry(name, 3, "b" * 64) for name in ("piece_starts.npy", "pieces.npy"))
RECORD = OriginsRecord(sequences=4, blend=False, datasets=(DATASET,), files=FILES)
BLEND = replace(
    RECORD,
    blend=True,
    datasets=(DATASET, replace(DATASET, documents=None, manifest=None, addresses=False)),
    files=(*FILES, FileEntry("datasets.npy", 3, "b" * 64)),
)


@pytest.mark.parametrize("record", [RECORD, BLEND])
def test_records_come_back(record: OriginsRecord) -> None:
    assert OriginsRecord.parse(record.to_bytes(), "origins.json") == record


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, sequences=0),
        replace(RECORD, datasets=()),
        replace(RECORD, datasets=(DATASET, DATASET)),
        replace(RECORD, files=FILES[:1]),
        replace(RECORD, blend=True),
        replace(BLEND, blend=False),
        replace(RECORD, datasets=(replace(DATASET, documents=-1),)),
        replace(RECORD, datasets=(replace(DATASET, first=1),)),
        replace(RECORD, datasets=(replace(DATASET, tokens="9"),)),  # type: ignore[arg-type]
    ],
)
def test_records_that_contradict_themselves(record: OriginsRecord) -> None:
    with pytest.raises(DataError, match="fetch the steps again"):
        OriginsRecord.parse(record.to_bytes(), "origins.json")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        canonical_json({"format": "pile-tools origins 1"}),
        RECORD.to_bytes()[:-2],
        RECORD.to_bytes() + b"\n",
        RECORD.to_bytes().replace(b"origins 1", b"origins 2"),
        RECORD.to_bytes().replace(b'"first"', b'"second"'),
    ],
)
def test_a_damaged_record_is_an_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"origins\.json: "):
        OriginsRecord.parse(content, "origins.json")
