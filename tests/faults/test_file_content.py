"""Shards that hold something else than their names say, and zstd frames that are missing or unreadable."""

import bz2
import gzip
import io
import json
import lzma
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard
from pile_tools_cli.main import run

from pile_tools.errors import DataError
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.row_lookup import read_text
from pile_tools.formats.zstd import RowFrameWriter, read_frame_index, zstd_chunks

LINE = b'{"text": "one two three"}\n'


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["one two three"]}), file)
    return file.getvalue()


def arrow() -> bytes:
    file = io.BytesIO()
    feather.write_feather(pa.table({"text": ["one two three"]}), file)
    return file.getvalue()


def dictionary() -> zstandard.ZstdCompressionDict:
    samples = [b"the quick brown fox %d jumps over the lazy dog %d" % (i, i * i) for i in range(2000)]
    return zstandard.train_dictionary(2000, samples)


zstd = zstandard.ZstdCompressor().compress
CONTENTS = {
    "zstd data": zstd(LINE),
    "gzip data": gzip.compress(LINE),
    "xz data": lzma.compress(LINE),
    "bzip2 data": bz2.compress(LINE),
    "text": LINE,
    "a Parquet file": parquet(),
    "an Arrow file": arrow(),
    "UTF-16 text": LINE.decode().encode("utf-16"),
    "UTF-32 text": LINE.decode().encode("utf-32"),
    "a zstd dictionary": dictionary().as_bytes(),
}
NAMES = {
    "a.jsonl": {"text"},
    "a.txt": {"text"},
    "a.jsonl.zst": {"zstd data"},
    "a.jsonl.gz": {"gzip data"},
    "a.parquet": {"a Parquet file"},
}


def read(path: Path) -> list[str]:
    return [text for batch in ShardReader(Shard(path, path.name)) for text in batch.texts()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", CONTENTS)
def test_another_format_than_the_name_says(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(CONTENTS[kind])
    if kind in NAMES[name]:
        assert len(read(path)) == 1
        return
    expected = rf"{name}: \.\S+ by its name, but holds {kind}; "
    with pytest.raises(DataError, match=expected) as error:
        read(path)
    assert "fetch the file again" not in str(error.value)
    with pytest.raises(DataError, match=expected):
        read_text(Shard(path, name), 0)


def test_the_remedy_is_a_command_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(gzip.compress(LINE))
    assert run(["dedup", str(tmp_path / "a.jsonl.zst"), "-o", str(tmp_path / "k")]) == 3
    assert (
        "a.jsonl.zst: .jsonl.zst by its name, but holds gzip data; rename the file to end in .jsonl.gz\n"
        in (capsys.readouterr().err)
    )
    (tmp_path / "a.jsonl.zst").rename(tmp_path / "a.jsonl.gz")
    assert run(["dedup", str(tmp_path / "a.jsonl.gz"), "-o", str(tmp_path / "k")]) == 0


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_utf16_without_a_mark(encoding: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(LINE.decode().encode(encoding))
    with pytest.raises(DataError, match="holds UTF-16 text; convert it to UTF-8"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.jsonl.gz"])
@pytest.mark.parametrize("kind", ["zstd data", "gzip data", "UTF-16 text", "a Parquet file"])
def test_packed_twice(name: str, kind: str, tmp_path: Path) -> None:
    pack: Any = zstd if name.endswith("zst") else gzip.compress
    (tmp_path / name).write_bytes(pack(CONTENTS[kind]))
    with pytest.raises(DataError, match=rf"holds {kind} once it is unpacked"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.jsonl.gz"])
def test_a_byte_order_mark_before_utf8_is_no_fault(name: str, tmp_path: Path) -> None:
    pack: Any = {"a.jsonl.zst": zstd, "a.jsonl.gz": gzip.compress}.get(name, bytes)
    (tmp_path / name).write_bytes(pack(b"\xef\xbb\xbf" + LINE + LINE))
    assert read(tmp_path / name) == ["one two three"] * 2


@pytest.mark.parametrize("before", [b"", zstd(LINE)])
def test_a_frame_that_needs_a_dictionary(before: bytes, tmp_path: Path) -> None:
    trained = dictionary()
    content = b'{"text": "the quick brown fox jumps over"}\n' * 3
    frame = zstandard.ZstdCompressor(dict_data=trained).compress(content)
    (tmp_path / "a.jsonl.zst").write_bytes(before + frame)
    with pytest.raises(
        DataError, match=rf"zstd dictionary {trained.dict_id()}, .*again without one"
    ) as error:
        read(tmp_path / "a.jsonl.zst")
    assert "damaged" not in str(error.value)


def test_a_frame_that_does_not_name_its_dictionary(tmp_path: Path) -> None:
    content = b'{"text": "the quick brown fox 12 jumps over the lazy dog 144"}\n'
    compressor = zstandard.ZstdCompressor(dict_data=dictionary(), write_dict_id=False)
    (tmp_path / "a.jsonl.zst").write_bytes(compressor.compress(content))
    with pytest.raises(DataError, match="without a dictionary where it was made with one"):
        read(tmp_path / "a.jsonl.zst")


# Frames that were cut out of what pile-tools wrote.


def frames_of(path: Path) -> tuple[list[bytes], bytes]:
    index = read_frame_index(path)
    assert index is not None
    data, ends = path.read_bytes(), index.offsets.tolist()
    return [data[a:b] for a, b in pairwise(ends)], data[ends[-1] :]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("pile_tools.formats.zstd.FRAME_BYTES", 100)
    with (tmp_path / "a.jsonl.zst").open("wb") as file:
        writer = RowFrameWriter(file)
        writer.write_lines(json.dumps({"text": f"{i} " * i}).encode() + b"\n" for i in range(60))
        writer.close()
    return tmp_path / "a.jsonl.zst"


def test_a_whole_frame_that_is_missing(ours: Path) -> None:
    frames, tail = frames_of(ours)
    assert len(frames) > 5
    for position in range(len(frames)):
        ours.write_bytes(b"".join(frames[:position] + frames[position + 1 :]) + tail)
        with pytest.raises(DataError, match="frame index does not fit the frames before it"):
            list(zstd_chunks(ours))
        with pytest.raises(DataError):
            read(ours)
    ours.write_bytes(tail)
    with pytest.raises(DataError, match="cut out"):
        list(zstd_chunks(ours))
    ours.write_bytes(b"".join(frames[::-1]) + tail)
    with pytest.raises(DataError, match="cut out"):
        list(zstd_chunks(ours))


def test_files_end_to_end_are_whole(ours: Path) -> None:
    frames, tail = frames_of(ours)
    whole = b"".join(frames) + tail
    content = b"".join(map(zstandard.ZstdDecompressor().decompress, frames))
    for before in (whole, zstd(LINE), whole + zstd(LINE)):
        ours.write_bytes(before + whole)
        assert b"".join(zstd_chunks(ours)).endswith(content)
        ours.write_bytes(before + b"".join(frames[1:]) + tail)
        with pytest.raises(DataError, match="cut out"):
            list(zstd_chunks(ours))


def test_a_missing_frame_ends_every_command(ours: Path, tmp_path: Path, demo_corpus: Path) -> None:
    frames, tail = frames_of(ours)
    ours.write_bytes(b"".join(frames[1:]) + tail)
    for command in (["dedup"], ["tokenize", "--tokenizer", str(demo_corpus)]):
        assert run([*command, str(ours), "-o", str(tmp_path / command[0]), "--workers", "1"]) == 3
