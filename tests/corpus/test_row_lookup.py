"""One record by its address, against reading the whole shard."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus import jsonl, zstd
from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.row_lookup import read_text
from pile_tools.corpus.shard_copy import copy_rows
from pile_tools.corpus.shards import Shard
from pile_tools.errors import DataError

TEXTS = ["one", "", "zw\u00f6lf\nlines", "x" * 3000, "\u2028\r", "last"]


def write(path: Path, texts: list[str], *, newline_at_end: bool = True) -> Shard:
    shard = Shard(path, path.name)
    if shard.format.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=2)
        return shard
    lines = "\n".join(json.dumps({"text": text}) for text in texts).encode() + b"\n" * newline_at_end
    if shard.format.suffix == ".jsonl.gz":
        lines = gzip.compress(lines)
    elif shard.format.suffix == ".jsonl.zst":
        lines = zstandard.compress(lines)
    path.write_bytes(lines)
    return shard


def every_text(shard: Shard) -> dict[int, bytes]:
    return {
        int(row): text.encode()
        for batch in ShardReader(shard)
        for row, text in zip(batch.rows, batch.texts(), strict=True)
    }


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
@pytest.mark.parametrize("newline_at_end", [True, False])
def test_every_row_of_every_format(name: str, newline_at_end: bool, tmp_path: Path) -> None:
    shard = write(tmp_path / name, TEXTS, newline_at_end=newline_at_end)
    assert [read_text(shard, row).decode() for row in range(6)] == TEXTS
    for row in (-1, 6, 100):
        with pytest.raises(DataError, match="it is not the file that was read"):
            read_text(shard, row)


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=30),
    frame_bytes=st.integers(1, 200),
    chunk_bytes=st.integers(1, 40),
)
def test_rows_are_found_across_frames_and_chunks(
    lengths: list[int], frame_bytes: int, chunk_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    texts = [f"{number} " * length for number, length in enumerate(lengths)]
    source = write(directory / "a.jsonl", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zstd, "FRAME_BYTES", frame_bytes)
        patch.setattr("pile_tools.corpus.jsonl.FRAME_BYTES", frame_bytes)
        patch.setattr("pile_tools.corpus.compression._CHUNK_BYTES", chunk_bytes)
        framed = Shard(directory / "b.jsonl.zst", "b.jsonl.zst")
        copy_rows(Shard(source.path, "b.jsonl"), np.ones(len(texts), np.bool_), directory / "plain.jsonl")
        foreign = Shard(directory / "c.jsonl.zst", "c.jsonl.zst")
        foreign.path.write_bytes(zstandard.compress(source.path.read_bytes()))
        copy_rows(foreign, np.ones(len(texts), np.bool_), framed.path)
        for row, text in enumerate(texts):
            assert read_text(source, row) == text.encode()
            assert read_text(framed, row) == text.encode()


def test_only_the_frame_of_the_row_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = write(tmp_path / "c.jsonl.zst", [f"{i} " * 500 for i in range(2000)])
    framed = Shard(tmp_path / "b.jsonl.zst", "b.jsonl.zst")
    copy_rows(foreign, np.ones(2000, np.bool_), framed.path)

    def whole(shard: Shard) -> None:
        raise AssertionError("read from its beginning")

    monkeypatch.setattr(jsonl, "shard_chunks", whole)
    content = bytearray(framed.path.read_bytes())
    index = zstd.read_frame_index(framed.path)
    assert index is not None
    assert len(index.rows) > 3
    assert read_text(framed, 1000).decode() == "1000 " * 500
    content[: int(index.offsets[1])] = bytes(int(index.offsets[1]))  # the first frame is not looked at
    framed.path.write_bytes(content)
    assert read_text(framed, 1999).decode() == "1999 " * 500
    with pytest.raises(DataError, match="damaged zstd frame 0"):
        read_text(framed, 0)


def test_text_is_repaired_as_the_reader_does(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "a.jsonl", "a.jsonl")
    lines = [b'\xef\xbb\xbf{"text": "bom"}', b'{"text": "a\xff"}', b'{"text": "\\ud800"}', b'{"text": "ok"}']
    shard.path.write_bytes(b"\n".join(lines))
    assert {row: read_text(shard, row) for row in range(4)} == every_text(shard)


def test_a_text_file_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"whole \xff file\n")
    shard = Shard(tmp_path / "a.txt", "a.txt")
    assert read_text(shard, 0) == "whole \ufffd file\n".encode()
    with pytest.raises(DataError, match=r"a\.txt:1: no text"):
        read_text(shard, 1)


def test_rows_without_text(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "a.jsonl", "a.jsonl")
    shard.path.write_bytes(b'\n{"body": "x"}\n{"text": 3}\n')
    for row, message in enumerate(["a blank line", "no text under 'text'", "is no string"]):
        with pytest.raises(DataError, match=rf"a\.jsonl:{row}: .*{message}"):
            read_text(shard, row)
    assert read_text(shard, 1, "body") == b"x"
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: no text"):
        read_text(Shard(tmp_path / "a.parquet", "a.parquet"), 1)
