"""Compressions against the standard library: what is unpacked, what is written, what is damaged."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus.compression import COMPRESSIONS
from pile_tools.errors import DataError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
PACKED = [suffix for suffix in PACK if suffix]
LINES = [b'{"text": "one"}\n', b"\n", b"x" * 3000 + b"\r\n", b"last"]


def unpack(suffix: str, path: Path) -> bytes:
    return b"".join(COMPRESSIONS[suffix].chunks(path))


def unzstd(content: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True) as reader:
        return reader.read()


UNPACK_WRITTEN = {"": bytes, ".gz": gzip.decompress, ".zst": unzstd, ".xz": unzstd, ".bz2": unzstd}


def test_every_compression_is_tested() -> None:
    assert PACK.keys() == UNPACK_WRITTEN.keys() == COMPRESSIONS.keys()


@settings(deadline=None, max_examples=20)
@given(contents=st.lists(st.binary(max_size=300), min_size=1, max_size=3), chunk_bytes=st.integers(1, 50))
@pytest.mark.parametrize("suffix", PACK)
def test_streams_end_to_end_are_unpacked_for_every_chunk_size(
    suffix: str, contents: list[bytes], chunk_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("packed") / "x"
    path.write_bytes(b"".join(map(PACK[suffix], contents)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pile_tools.corpus.compression._CHUNK_BYTES", chunk_bytes)
        chunks = list(COMPRESSIONS[suffix].chunks(path))
    assert b"".join(chunks) == b"".join(contents)
    if suffix != ".zst":  # whose chunks have a size of their own
        assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)


@pytest.mark.parametrize("suffix", PACKED)
def test_a_cut_changed_or_longer_file_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.jsonl{suffix}"
    whole = PACK[suffix](b"".join(LINES))
    for content in (b"", whole[:3], whole[: len(whole) // 2], whole[:-1], whole + b"more", b"?" + whole):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"x\.jsonl\{suffix}: .*fetch the file again"):
            unpack(suffix, path)


def test_zero_bytes_after_an_xz_stream_come_in_fours(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.xz"
    for padding in range(9):
        path.write_bytes(lzma.compress(b"a") + bytes(padding))
        if padding % 4:
            with pytest.raises(DataError, match="damaged xz data"):
                unpack(".xz", path)
        else:
            assert unpack(".xz", path) == b"a"


@pytest.mark.parametrize("suffix", PACK)
def test_written_lines_are_unpacked_by_others(suffix: str) -> None:
    contents = []
    for _ in range(2):
        file = io.BytesIO()
        writer = COMPRESSIONS[suffix].writer(file)
        writer.write_lines(LINES[:2])
        writer.write_piece(LINES[2][:1000], first=True)
        writer.write_piece(LINES[2][1000:], first=False)
        writer.write_lines(LINES[3:])
        writer.close()
        contents.append(file.getvalue())
    assert UNPACK_WRITTEN[suffix](contents[0]) == b"".join(LINES)
    assert contents[0] == contents[1]  # nothing of the moment
