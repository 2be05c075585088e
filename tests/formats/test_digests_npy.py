"""Digests of steps and their record: whole, of one stream, and found by the label of its order."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.digests_npy import (
    DigestRecord,
    digest_names,
    digest_prefix,
    list_records,
    read_digests,
    read_digests_of,
    root_of,
    write_digests,
)
from pile_tools.storage.store import LocalStore

DIGESTS = np.arange(48, dtype=np.uint8).reshape(3, 16)
RECORD = DigestRecord("train_0", "ab", 2, 5, "uint16", 4, 7, hashlib.sha256(DIGESTS.tobytes()).hexdigest())


def test_they_come_back(tmp_path: Path) -> None:
    assert read_digests(LocalStore(tmp_path), "") is None
    assert root_of(DIGESTS) == RECORD.root
    path = write_digests(tmp_path, "x_", RECORD, DIGESTS)
    assert (path.name, path.with_suffix(".json").name) == digest_names("x_")
    found = read_digests(LocalStore(tmp_path), "x_")
    assert found is not None
    assert found[0] == RECORD
    assert np.array_equal(found[1], DIGESTS)
    assert np.array_equal(np.load(path), DIGESTS)


@pytest.mark.parametrize("change", ["row", "shape", "dtype", "gone", "flip"])
def test_damage_is_met(change: str, tmp_path: Path) -> None:
    path = write_digests(tmp_path, "", RECORD, DIGESTS)
    if change == "row":
        np.save(path, DIGESTS[:-1])
    elif change == "shape":
        np.save(path, DIGESTS.reshape(6, 8))
    elif change == "dtype":
        np.save(path, DIGESTS.view("<u2"))
    elif change == "gone":
        path.unlink()
    else:
        np.save(path, DIGESTS ^ 1)
    with pytest.raises(DataError, match=r"digests\.npy: "):
        read_digests(LocalStore(tmp_path), "")


def test_every_byte_of_a_record_counts() -> None:
    content = RECORD.to_bytes()
    assert DigestRecord.parse(content, "name") == RECORD
    for at in range(0, len(content), 7):
        with pytest.raises(DataError, match="name"):
            DigestRecord.parse(content[:at], "name")
    for damaged in (content + b" ", b"[]", replace(RECORD, steps=4).to_bytes()):
        with pytest.raises(DataError, match="name"):
            DigestRecord.parse(damaged, "name")
    with pytest.raises(DataError, match=r"names '\.\./a'"):
        DigestRecord.parse(replace(RECORD, label="../a").to_bytes(), "name")


def test_of_several_those_of_the_label_are_taken(tmp_path: Path) -> None:
    assert list_records(tmp_path / "none") == []
    assert read_digests_of(tmp_path, "train_0") is None
    for label in ("a", "b"):
        write_digests(tmp_path, f"{label}_", replace(RECORD, label=label), DIGESTS)
    assert [prefix for prefix, _ in list_records(tmp_path)] == ["a_", "b_"]
    found = read_digests_of(tmp_path, "b")
    assert found is not None
    assert found[0].label == "b"
    with pytest.raises(ParameterError, match=r"digests of several orders \(a, b\), and none of train_0"):
        read_digests_of(tmp_path, "train_0")
    write_digests(tmp_path, "", replace(RECORD, label="c"), DIGESTS)
    first = read_digests_of(tmp_path, "train_0")
    assert first is not None
    assert first[0].label == "c"


def test_the_name_begins_with_the_label_or_is_that_of_the_record(tmp_path: Path) -> None:
    assert digest_prefix(LocalStore(tmp_path), "train_0") == "train_0_"
    write_digests(tmp_path, "other_", RECORD, DIGESTS)
    assert digest_prefix(LocalStore(tmp_path), "train_0") == "other_"
