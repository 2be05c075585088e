"""`order.json`, of an order and of a blend."""

from dataclasses import replace
from pathlib import Path

import pytest

from pile_tools.errors import DataError
from pile_tools.formats.order_json import BlendPart, BlendRecord, OrderRecord, parse_record
from pile_tools.storage.manifest import canonical_json, file_entry
from tests.token_data import GOLDEN

LABEL = "document_train_0_indexmap_40ns_2048sl_1234s"
RECORD = OrderRecord(
    label=LABEL,
    recipe="neox",
    name="train_0",
    seed=1234,
    seq_length=2048,
    batch_size=4,
    num_samples=40,
    samples=40,
    steps=10,
    epochs=2,
    documents=(0, 305),
    split=None,
    index="e" * 64,
    dataset="d" * 64,
    manifest=None,
    sequences=305,
    data_bytes=104_792,
    files=(),
)
ENTRY = file_entry(GOLDEN / "neox" / "blend.json")
BLEND = BlendRecord(
    label="blend_40ns_2048sl_1234s",
    recipe="neox",
    seed=1234,
    seq_length=2048,
    batch_size=4,
    num_samples=40,
    samples=40,
    steps=10,
    parts=(BlendPart("../a/document", LABEL, "0.7"), BlendPart("../b/document", LABEL, "0.3")),
    files=(ENTRY, ENTRY),
)


@pytest.mark.parametrize(
    "record", [replace(RECORD, manifest="m" * 64, split="969,30,1", files=(ENTRY,)), BLEND]
)
def test_records_come_back(record: OrderRecord | BlendRecord, tmp_path: Path) -> None:
    record.write(tmp_path / "order.json")
    assert parse_record((tmp_path / "order.json").read_bytes(), "order.json") == record


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        RECORD.to_bytes() + b"\n",
        RECORD.to_bytes().replace(b'"steps": 10', b'"steps": 11'),
        RECORD.to_bytes().replace(b'"seq_length": 2048', b'"seq_length": 0'),
        RECORD.to_bytes().replace(b'"seq_length": 2048', b'"seq_length": "2"'),
        RECORD.to_bytes().replace(b'"samples": 40', b'"samples": 41'),
        RECORD.to_bytes().replace(b'"first_sample": 0', b'"first_sample": 1'),
        RECORD.to_bytes().replace(b'"seed": 1234', b'"seed": 1234,\n  "sees": 1'),
        RECORD.to_bytes().replace(b"order 1", b"order 2"),
        canonical_json({"format": "pile-tools order 1"}),
        BLEND.to_bytes().replace(b'"steps": 10', b'"steps": 11'),
        BLEND.to_bytes().replace(b'"weight": "0.7"', b'"weight": 7'),
        replace(BLEND, parts=()).to_bytes(),
        replace(BLEND, files=()).to_bytes(),
        canonical_json({"format": "pile-tools blend 1", "files": [], "parts": [1]}),
    ],
)
def test_a_damaged_record_is_an_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"here/order\.json: .*"):
        parse_record(content, "here/order.json")
