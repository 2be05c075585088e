"""Records of overlays and of where their parents are."""

from dataclasses import replace
from pathlib import Path

import pytest

from pile_tools.errors import DataError
from pile_tools.formats.overlay_json import OverlayRecord, ParentPlace
from pile_tools.storage.manifest import FileEntry

RECORD = OverlayRecord("ab", 4, 9, 2, ((1, 2), (3, 4)), 1, (FileEntry("samples.npy", 5, "0" * 64),))


@pytest.mark.parametrize(
    "record", [RECORD, replace(RECORD, batch_size=None), replace(RECORD, swaps=(), files=())]
)
def test_records_come_back(record: OverlayRecord) -> None:
    assert OverlayRecord.parse(record.to_bytes(), "name") == record
    assert record.identity != replace(record, last_sample=10).identity
    assert record.entry("none") is None
    assert record.files == () or record.entry("samples.npy") == record.files[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        RECORD.to_bytes()[:-2],
        RECORD.to_bytes() + b" ",
        RECORD.to_bytes().replace(b"overlay 1", b"overlay 2"),
        replace(RECORD, first_sample=9).to_bytes(),
        replace(RECORD, batch_size=0).to_bytes(),
        replace(RECORD, files=(FileEntry("../a", 5, "0" * 64),)).to_bytes(),
    ],
)
def test_what_is_no_record(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^name: "):
        OverlayRecord.parse(content, "name")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (ParentPlace("../tokens", None), ("/x/tokens", None)),
        (ParentPlace("../tokens", "train_0"), ("/x/tokens", "train_0")),
        (ParentPlace("/y", "../orders/a"), ("/y", "/x/orders/a")),
        (ParentPlace("https://host/a", "https://host/b"), ("https://host/a", "https://host/b")),
    ],
)
def test_a_parent_is_where_its_path_leads_from_the_overlay(
    place: ParentPlace, expected: tuple[str, str | None], tmp_path: Path
) -> None:
    assert place.seen_from("/x/overlay") == expected
    place.write(tmp_path)
    assert ParentPlace.parse((tmp_path / "parent.json").read_bytes(), "name") == place


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{}", b'{"location": 3, "order": null}'])
def test_what_names_no_parent(content: bytes | None) -> None:
    with pytest.raises(DataError, match=r"^name: "):
        ParentPlace.parse(content, "name")
