"""Arrays that grow on the disk: they are what NumPy reads, and damage is noticed."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError
from pile_tools.formats.npy import NpyFile, NpyWriter, read_header, write_npy


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("npy") / "array.npy"


@given(st.lists(st.integers(0, 5), max_size=4), st.sampled_from([(), (3,), (2, 2)]), st.data())
def test_round_trip(path: Path, pieces: list[int], row_shape: tuple[int, ...], data: st.DataObject) -> None:
    total = sum(pieces)
    whole = np.arange(total * int(np.prod(row_shape)), dtype=np.int64).reshape(total, *row_shape)
    with path.open("wb") as target, NpyWriter(target, np.int64, row_shape) as writer:
        for start, count in zip(np.cumsum([0, *pieces]), pieces, strict=False):
            writer.append(whole[start : start + count])
    judge = np.load(path, allow_pickle=False)
    assert judge.dtype == whole.dtype
    assert judge.shape == whole.shape
    assert (judge == whole).all()
    file = NpyFile.open(path)
    start = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(start, total))
    assert (file.read(start, stop) == whole[start:stop]).all()
    assert file.read().shape == whole.shape


def test_rows_of_another_shape_or_type(path: Path) -> None:
    with path.open("wb") as target:
        writer = NpyWriter(target, np.int64, (2,))
        with pytest.raises(ValueError, match="shape"):
            writer.append(np.zeros((1, 3), dtype=np.int64))
        with pytest.raises(TypeError):
            writer.append(np.zeros((1, 2), dtype=np.float64))


def test_damage_is_noticed(path: Path) -> None:
    write_npy(path, np.arange(10))
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", whole[:20], b"", b"\x93NUMPY\x02" + whole[7:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=str(path)):
            NpyFile.open(path)
    write_npy(path, np.arange(10))
    file = NpyFile.open(path)
    path.write_bytes(whole[:-8])
    with pytest.raises(DataError, match="ends before"):
        file.read()


def test_no_damage_to_a_header_is_taken_for_a_defect() -> None:
    """Every bit of it: another header, or a ValueError, as NumPy's parser alone would not do."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=np.uint16).reshape(3, 4))
    content = buffer.getvalue()
    refused = 0
    for bit in range(8 * 128):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of headers that Python 2 wrote
            try:
                read_header(io.BytesIO(changed))
            except ValueError:
                refused += 1
    assert refused > 400


def test_pickled_objects_are_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    buffer.seek(0)
    with pytest.raises(ValueError, match="pickled"):
        read_header(buffer)
