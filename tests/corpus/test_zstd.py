import io
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.corpus import zstd
from pile_tools.corpus.zstd import RowFrameWriter, read_frame_index, zstd_chunks
from pile_tools.errors import DataError


def written(lines: list[bytes]) -> bytes:
    file = io.BytesIO()
    writer = RowFrameWriter(file)
    for line in lines:
        writer.write(line)
    writer.close()
    return file.getvalue()


def read(path: Path) -> bytes:
    return b"".join(zstd_chunks(path))


@given(lines=st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=30))
def test_round_trip_and_every_row_reachable(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("z") / "x.jsonl.zst"
    frame_bytes, zstd.FRAME_BYTES = zstd.FRAME_BYTES, 64
    try:
        path.write_bytes(written(lines))
    finally:
        zstd.FRAME_BYTES = frame_bytes
    assert read(path) == b"".join(lines)
    index = read_frame_index(path)
    assert index is not None
    assert index.rows[-1] == len(lines)
    data = path.read_bytes()
    for row, line in enumerate(lines):
        frame = index.frame_of_row(row)
        content = zstandard.ZstdDecompressor().decompress(
            data[index.offsets[frame] : index.offsets[frame + 1]]
        )
        assert content.split(b"\n")[row - index.rows[frame]] + b"\n" == line


def test_other_readers_see_the_same_bytes(tmp_path: Path) -> None:
    lines = [b"%d\n" % number for number in range(400_000)]
    data = written(lines)
    across = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    assert across == b"".join(lines)
    path = tmp_path / "x.zst"
    path.write_bytes(data)
    index = read_frame_index(path)
    assert index is not None
    assert len(index.rows) > 2


def test_several_frames_and_skippable_ones_are_all_read(tmp_path: Path) -> None:
    compress = zstandard.ZstdCompressor().compress
    skippable = b"\x50\x2a\x4d\x18" + b"\x03\0\0\0" + b"abc"
    path = tmp_path / "x.zst"
    path.write_bytes(compress(b"one\n") + skippable + compress(b"") + compress(b"two\n"))
    assert read(path) == b"one\ntwo\n"
    assert read_frame_index(path) is None


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    first = compressor.compress(b"a line of text\n" * 20)
    data = first + compressor.compress(b"another line of text\n" * 20)
    path = tmp_path / "x.zst"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        if length == len(first):
            assert read(path) == b"a line of text\n" * 20
        else:
            with pytest.raises(DataError, match=r"x\.zst"):
                read(path)


def test_every_flipped_bit_of_ours_is_noticed_or_harmless(tmp_path: Path) -> None:
    lines = [b'{"text": "some words of a document"}\n'] * 5
    data = written(lines)
    path = tmp_path / "x.zst"
    for position in range(len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        try:
            content = read(path)
        except DataError:
            continue
        assert content == b"".join(lines)  # only the index frames, which reading in order passes over


def test_long_line_in_pieces_is_one_row(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = RowFrameWriter(file)
    writer.write(b"a\n")
    writer.write_piece(b"b" * 10, first=True)
    writer.write_piece(b"b" * 10, first=False)
    writer.write_piece(b"b\n", first=False)
    writer.write(b"c\n")
    writer.close()
    path = tmp_path / "x.zst"
    path.write_bytes(file.getvalue())
    assert read(path) == b"a\n" + b"b" * 21 + b"\nc\n"
    index = read_frame_index(path)
    assert index is not None
    assert [index.frame_of_row(row) for row in range(3)] == [0, 1, 4]


def test_index_that_contradicts_the_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b"more") + written([b"a\n"]))
    with pytest.raises(DataError, match="frame index"):
        read_frame_index(path)


def raw_frame(window_byte: int, content: bytes) -> bytes:
    """A frame of one raw block with this Window_Descriptor (RFC 8878)."""
    header = (0xFD2FB528).to_bytes(4, "little") + bytes([0, window_byte])
    return header + (len(content) << 3 | 1).to_bytes(3, "little") + content


@pytest.mark.parametrize("window_log", [27, 28, 31])
def test_large_windows_are_read(tmp_path: Path, window_log: int) -> None:
    path = tmp_path / "x.zst"
    path.write_bytes(raw_frame((window_log - 10) << 3, b"x\n"))
    assert read(path) == b"x\n"


@pytest.mark.parametrize("before", [b"", b"x" * (zstd._FEED_BYTES - 9 - 5)])
def test_window_that_cannot_be_had(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "x.zst"
    first = raw_frame((20 - 10) << 3, before) if before else b""
    path.write_bytes(first + raw_frame((33 - 10) << 3 | 2, b"x\n"))
    with pytest.raises(DataError, match=rf"needs a window of {(1 << 33) + (1 << 31)} bytes"):
        read(path)


def test_content_that_is_its_own_window(tmp_path: Path) -> None:
    path = tmp_path / "x.zst"
    size = (3 << 30).to_bytes(8, "little")
    path.write_bytes((0xFD2FB528).to_bytes(4, "little") + bytes([0xE0]) + size + b"\x01\0\0")
    with pytest.raises(DataError, match=rf"needs a window of {3 << 30} bytes"):
        read(path)


def test_frames_made_by_long_distance_matching(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(
        window_log=28, enable_ldm=True, compression_level=1, hash_log=6, chain_log=6
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = tmp_path / "x.zst"
    path.write_bytes(compressor.compress(b"line\n" * 1000) + compressor.flush())
    assert read(path) == b"line\n" * 1000
