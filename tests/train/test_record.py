"""``data.json`` and ``digests.npy``."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from pile_tools.errors import DataError
from pile_tools.formats.digests_npy import step_digest
from pile_tools.train.record import DataRecord, Segment, Stream
from tests.train.small import make_stream

A = Stream("a" * 64, ("d" * 64,), "order_a", 20, 6)
B = Stream("b" * 64, ("d" * 64,), "order_b", 20, 3)


def record() -> DataRecord:
    """Two steps of one stream and one of another."""
    found = DataRecord((Segment(A, 0, 0),), b"").consume(b"0" * 16).consume(b"1" * 16)
    return found.fork(B, "p" * 64).consume(b"2" * 16)


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).write_bytes(content)


def test_counts_and_running_digest(tmp_path: Path) -> None:
    found = record()
    assert (found.steps, found.samples, found.tokens) == (3, 15, 300)
    assert found.digest == hashlib.sha256(b"0" * 16 + b"1" * 16 + b"2" * 16).hexdigest()
    assert found.lineage == (Segment(A, 0, 2), Segment(B, 2, 3, "p" * 64))
    write(tmp_path, found.to_files())
    assert DataRecord.read(tmp_path) == found
    value = json.loads((tmp_path / "data.json").read_text())
    assert (value["steps"], value["stream"]["identity"], value["digest"]) == (3, "b" * 64, found.digest)
    digests = np.load(tmp_path / "digests.npy", allow_pickle=False)
    assert (digests.shape, digests.dtype) == ((3, 16), np.uint8)


def test_nothing_read_yet(tmp_path: Path) -> None:
    empty = DataRecord((Segment(A, 0, 0),), b"")
    write(tmp_path, empty.to_files())
    assert DataRecord.read(tmp_path) == empty
    # A fork of an empty checkpoint begins on the other stream.
    assert empty.fork(B, "p").lineage == (Segment(B, 0, 0, "p"),)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pile-tools training data 2"},
        {"steps": 2},
        {"digest": "0" * 64},
        {"samples": 99},
        {"lineage": []},
        {"lineage": "none"},
        {"stream": None},
    ],
)
def test_edited_records(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, record().to_files())
    path = tmp_path / "data.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}, indent=2, sort_keys=True) + "\n")
    with pytest.raises(DataError, match=r"data\.json"):
        DataRecord.read(tmp_path)


def test_records_that_do_not_fit_their_digests(tmp_path: Path) -> None:
    files = record().to_files()
    for content in (files["digests.npy"][:-16], b"", b"\x80\x02."):
        write(tmp_path, files | {"digests.npy": content})
        with pytest.raises(DataError, match=r"/digests\.npy: "):
            DataRecord.read(tmp_path)
    write(tmp_path, files | {"digests.npy": files["digests.npy"][:-1] + b"x"})
    with pytest.raises(DataError, match=r"data\.json"):
        DataRecord.read(tmp_path)
    (tmp_path / "digests.npy").unlink()
    with pytest.raises(DataError, match=r"digests\.npy: missing"):
        DataRecord.read(tmp_path)
    gap = DataRecord((Segment(A, 0, 2), Segment(B, 1, 3)), b"0" * 48)
    write(tmp_path, gap.to_files())
    with pytest.raises(DataError, match="does not fit"):
        DataRecord.read(tmp_path)


def test_differences_of_streams_are_named() -> None:
    assert A.difference(A) is None
    assert A.difference(Stream("a" * 64, ("d" * 64,), "the same under another name", 20, 6)) is None
    assert (
        A.difference(B) == "batch_size 6, now 3; order order_a (aaaaaaaaaaaa…), now order_b (bbbbbbbbbbbb…)"
    )
    other = Stream("c" * 64, ("e" * 64, "f" * 64), "order_a", 20, 6)
    assert A.difference(other) == "datasets dddddddddddd…, now eeeeeeeeeeee… and ffffffffffff…"


def test_digest_of_a_step_is_that_of_the_viewer(tmp_path: Path) -> None:
    viewer = make_stream(tmp_path)
    batch = viewer.batch(3)
    assert step_digest(batch) == xxhash.xxh3_128_digest(batch.tobytes())
    assert step_digest(batch).hex() == viewer.step_digest(3)
    assert step_digest(np.asfortranarray(batch)) == step_digest(batch)
