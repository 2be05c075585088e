import gzip
from pathlib import Path

import numpy as np
import pytest

from pile_tools.corpus import jsonl
from pile_tools.corpus.shard_copy import copy_rows
from pile_tools.corpus.shards import Shard
from pile_tools.corpus.zstd import RowFrameWriter, zstd_chunks
from pile_tools.errors import DataError

LINES = [b'{"text": "a\xff"}\n', b"  \n", b'{ "text":"b" }\r\n', b"x" * 5000 + b"\n", b'{"text": "last"}']
KEEP = np.array([True, False, True, True, True])


def make(path: Path) -> Shard:
    content = b"".join(LINES)
    if path.name.endswith(".zst"):
        with path.open("wb") as file:
            writer = RowFrameWriter(file)
            for line in LINES:
                writer.write(line)
            writer.close()
    else:
        path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return Shard(path, path.name)


def content_of(path: Path) -> bytes:
    if path.name.endswith(".zst"):
        return b"".join(zstd_chunks(path))
    return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"])
@pytest.mark.parametrize("limit", [1 << 20, 100])
def test_kept_lines_pass_byte_for_byte(
    tmp_path: Path, name: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "FRAME_BYTES", limit)  # 100: the long line goes through in pieces
    shard = make(tmp_path / name)
    outputs = [tmp_path / str(number) / name for number in range(2)]
    for out in outputs:
        out.parent.mkdir()
        copy_rows(shard, KEEP, out)
    assert content_of(outputs[0]) == b"".join(line for line, keep in zip(LINES, KEEP, strict=True) if keep)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    copy_rows(shard, np.zeros(5, bool), outputs[0])
    assert content_of(outputs[0]) == b""


@pytest.mark.parametrize("rows", [4, 6])
def test_another_number_of_rows_is_an_error(tmp_path: Path, rows: int) -> None:
    shard = make(tmp_path / "x.jsonl")
    with pytest.raises(DataError, match="changed meanwhile"):
        copy_rows(shard, np.ones(rows, bool), tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_text_file_is_copied_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"a\xff")
    copy_rows(Shard(path, path.name), np.array([True]), tmp_path / "kept.txt")
    copy_rows(Shard(path, path.name), np.array([False]), tmp_path / "gone.txt")
    assert (tmp_path / "kept.txt").read_bytes() == b"a\xff"
    assert not (tmp_path / "gone.txt").exists()
