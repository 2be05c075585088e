"""Index maps: the bytes that GPT-NeoX writes, and the checks of what is read."""

from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError
from pile_tools.formats.npy import read_array, write_array
from pile_tools.storage.manifest import file_entry
from pile_tools.storage.sources import MappedFile, PreadFile
from tests.formats.test_order_json import LABEL
from tests.token_data import GOLDEN


@pytest.mark.parametrize("array", ["doc_idx", "sample_idx", "shuffle_idx"])
def test_arrays_are_written_as_gpt_neox_writes_them(array: str, tmp_path: Path) -> None:
    name = f"{LABEL}_{array}.npy"
    source = GOLDEN / "neox" / "small_u16" / name
    entry = write_array(tmp_path / name, np.load(source))
    assert (tmp_path / name).read_bytes() == source.read_bytes()
    assert entry == file_entry(source)
    # The same again is left alone, and another array is refused.
    assert write_array(tmp_path / name, np.load(source)) == entry
    with pytest.raises(DataError, match="holds another array"):
        write_array(tmp_path / name, np.load(source)[1:])


@pytest.mark.parametrize("array", ["doc_idx", "sample_idx", "shuffle_idx"])
def test_arrays_come_back_mapped_or_not(array: str) -> None:
    path = GOLDEN / "neox" / "small_u16" / f"{LABEL}_{array}.npy"
    expected = np.load(path)
    mapped, taken = (
        read_array(source(path), expected.ndim, (expected.dtype.name,)) for source in (MappedFile, PreadFile)
    )
    assert taken.mapped is None
    for view in (mapped, taken):
        np.testing.assert_array_equal(view.whole(), expected)
        np.testing.assert_array_equal(view.take([3, 0], [2, 1]), expected[[3, 4, 0]])
        assert view.read_bytes(4, 8) == expected.tobytes()[4:12]
        for start, count in [(len(expected), 1), (-1, 1), (0, -1)]:
            with pytest.raises(DataError, match=f"row {start} is asked for"):
                view.take([start], [count])


def test_an_array_without_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.empty(0, np.int32))
    for source in (MappedFile, PreadFile):
        assert read_array(source(tmp_path / "a.npy"), 1, ("int32",)).whole().tolist() == []


def test_pickled_truncated_and_extended_arrays_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled objects"):
        read_array(MappedFile(path), 1, ("int32",))
    np.save(path, np.arange(100, dtype="i4"))
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"\0", whole[:40], b"", b"PK\3\4", bytes(200)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.npy"):
            read_array(MappedFile(path), 1, ("int32",))
