"""Saved signatures of a shard: four arrays that belong together."""

from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError
from pile_tools.formats.npy import write_npy
from pile_tools.formats.signatures import DOCUMENT, KINDS, SavedSignatures

ARRAYS = {
    "documents": np.zeros(3, DOCUMENT),
    "signatures": np.arange(6, dtype="<u4").reshape(3, 2),
    "offsets": np.array([0, 1, 1, 4], "<i8"),
    "values": np.array([5, 1, 2, 9], "<u8"),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    for kind in KINDS:
        path = SavedSignatures.path(tmp_path, "folder/a.jsonl", kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npy(path, ARRAYS[kind])
    return tmp_path


def test_arrays_come_back(saved: Path) -> None:
    found = SavedSignatures.open(saved, "folder/a.jsonl", 2)
    for kind in KINDS:
        assert np.array_equal(getattr(found, kind).read(), ARRAYS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_are_missing_or_unlike_the_others(kind: str, saved: Path) -> None:
    path = SavedSignatures.path(saved, "folder/a.jsonl", kind)
    for array in (ARRAYS[kind][:-1], ARRAYS[kind].reshape(-1).view("u1")):
        write_npy(path, array)
        with pytest.raises(DataError, match=r"folder/a\.jsonl\.\w+\.npy: .*again"):
            SavedSignatures.open(saved, "folder/a.jsonl", 2)
    path.unlink()
    with pytest.raises(DataError, match=f"{kind}\\.npy: missing"):
        SavedSignatures.open(saved, "folder/a.jsonl", 2)


def test_another_number_of_permutations(saved: Path) -> None:
    with pytest.raises(DataError, match=r"signatures\.npy: uint32 \[3, 2\], not uint32 \[3, 4\]"):
        SavedSignatures.open(saved, "folder/a.jsonl", 4)
