"""`.idx` files: the bytes, the checks, and the files that GPT-NeoX and Megatron-Core wrote."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats import mmidx
from pile_tools.formats.mmidx import check_index, ends, parse_header, read_index, token_dtype, write_index

GOLDEN = Path(__file__).parents[1] / "golden"
LITERAL = (
    b"MMIDIDX\0\0"
    + struct.pack("<QBQQ", 1, 8, 3, 4)
    + struct.pack("<3i", 5, 0, 2)
    + struct.pack("<3q", 0, 10, 10)
    + struct.pack("<4q", 0, 1, 2, 3)
)


def test_literal_bytes(tmp_path: Path) -> None:
    write_index(tmp_path / "a.idx", np.uint16, [5, 0, 2])
    assert (tmp_path / "a.idx").read_bytes() == LITERAL
    index = read_index(tmp_path / "a.idx")
    assert index.dtype == np.uint16
    assert index.sizes.tolist() == [5, 0, 2]
    assert index.pointers.tolist() == [0, 10, 10]
    assert index.doc_idx.tolist() == [0, 1, 2, 3]
    assert index.data_bytes == 14
    assert not index.sizes.flags.writeable


@pytest.mark.parametrize("name", ["neox/small_u16", "neox/small_i32", "megatron_core"])
def test_files_of_other_projects_are_read_and_written_back_identically(name: str, tmp_path: Path) -> None:
    path = GOLDEN / name / "document.idx"
    index = read_index(path)
    assert index.data_bytes == path.with_suffix(".bin").stat().st_size
    write_index(tmp_path / "again.idx", index.dtype, index.sizes, index.doc_idx)
    assert (tmp_path / "again.idx").read_bytes() == path.read_bytes()


@given(
    sizes=st.lists(st.integers(0, 2**31 - 1), max_size=40),
    dtype=st.sampled_from(["u1", "i1", "i2", "i4", "i8", "u2"]),
)
def test_round_trip(sizes: list[int], dtype: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("idx") / "a.idx"
    write_index(path, dtype, np.array(sizes, np.int64))
    index = read_index(path)
    assert index.dtype == np.dtype(dtype)
    assert index.sizes.tolist() == sizes
    starts = np.cumsum([0, *sizes]) * np.dtype(dtype).itemsize
    assert index.pointers.tolist() == starts[:-1].tolist()
    assert index.data_bytes == starts[-1]


def test_blocks_join_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.random.RandomState(0).randint(0, 50, 1000)
    write_index(tmp_path / "one.idx", np.int32, sizes)
    monkeypatch.setattr(mmidx, "_BLOCK", 7)
    write_index(tmp_path / "many.idx", np.int32, sizes)
    assert (tmp_path / "one.idx").read_bytes() == (tmp_path / "many.idx").read_bytes()
    check_index(read_index(tmp_path / "one.idx"))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"X", "begins with"),
        (9, b"\x02", "version 2"),
        (17, b"\x06", "dtype code 6"),
        (17, b"\x07", "dtype code 7"),
        (17, b"\x00", "dtype code 0"),
        (17, b"\x09", "dtype code 9"),
        (18, struct.pack("<Q", 2**63), "needs"),
        (26, struct.pack("<Q", 2**60), "needs"),
        (34, struct.pack("<i", -5), "size -5"),
        (38, struct.pack("<i", 1), "points to byte 10"),
        (46, struct.pack("<q", 2), "points to byte 2"),
        (62, struct.pack("<q", 12), "points to byte 12"),
    ],
)
def test_each_wrong_field_is_named(at: int, value: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.idx"
    path.write_bytes(LITERAL[:at] + value + LITERAL[at + len(value) :])
    with pytest.raises(DataError, match=message):
        read_index(path)


@pytest.mark.parametrize("length", [*range(len(LITERAL)), len(LITERAL) + 1])
def test_truncated_or_extended(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.idx"
    path.write_bytes((LITERAL + b"\0")[:length])
    with pytest.raises(DataError, match=r"cut\.idx: \d+ bytes"):
        read_index(path)


def test_a_long_index_is_checked_at_its_ends_at_once_and_whole_on_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.idx"
    write_index(path, np.uint16, np.full(100, 3))
    content = bytearray(path.read_bytes())
    content[34 + 4 * 50 : 34 + 4 * 51] = struct.pack("<i", -1)
    path.write_bytes(content)
    monkeypatch.setattr(mmidx, "WHOLE_CHECK", 10)
    index = read_index(path)
    with pytest.raises(DataError, match="sequence 50 has the size -1"):
        check_index(index)
    content[34 + 4 * 99 : 34 + 4 * 100] = struct.pack("<i", -1)
    path.write_bytes(content)
    with pytest.raises(DataError, match="sequence 99"):
        read_index(path)


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such file"):
        read_index(tmp_path / "none.idx")


def test_header_can_be_checked_without_the_file() -> None:
    header = parse_header(LITERAL[:34], len(LITERAL), "https://example.org/a.idx")
    assert (header.dtype, header.n_sequences, header.n_doc_idx) == (np.dtype("<u2"), 3, 4)


@pytest.mark.parametrize(
    ("dtype", "sizes", "doc_idx", "message"),
    [
        ("f4", [1], None, "float32"),
        ("u2", [-1], None, "outside int32"),
        ("u2", [2**31], None, "outside int32"),
        ("u2", [1.5], None, "integers"),
        ("u2", [[1]], None, "one-dimensional"),
        ("u2", [1, 2], [0, 1], "rise from 0"),
        ("u2", [1, 2], [1, 2], "rise from 0"),
        ("u2", [1, 2], [0, 2, 1, 2], "rise from 0"),
        ("u2", [1, 2], [], "rise from 0"),
    ],
)
def test_the_writer_refuses(
    dtype: str, sizes: list[int], doc_idx: list[int] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=message):
        write_index(tmp_path / "a.idx", dtype, sizes, doc_idx)
    assert list(tmp_path.iterdir()) == []


def test_dtype_follows_the_vocabulary() -> None:
    assert token_dtype(65_499) == np.uint16
    assert token_dtype(65_500) == np.int32


def test_the_ends_of_an_array() -> None:
    assert [ends(length) for length in range(5)] == [[], [0], [0, 1], [0, 1, 2], [0, 2, 3]]
    # Nothing grows with the length.
    assert ends(1 << 60) == [0, (1 << 60) - 2, (1 << 60) - 1]
