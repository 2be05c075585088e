"""Arrow shards against pyarrow's own reader: documents, one row, rows kept as Parquet, damaged files."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.arrow import check_copy, copy_rows, documents, text
from pile_tools.corpus.records import RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError, NoDocumentError

TEXTS = [f"{row} zw\u00f6lf\n" * (row % 4) for row in range(11)]
TABLE = pa.table({"text": TEXTS, "meta": [{"pile_set_name": "A" if row % 2 else None} for row in range(11)]})


def pack(make: Callable[..., pa.ipc.RecordBatchStreamWriter], table: pa.Table, rows: int = 3) -> bytes:
    """An Arrow file or stream with batches of ``rows`` rows."""
    sink = pa.BufferOutputStream()
    with make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


@pytest.fixture(params=[pa.ipc.new_file, pa.ipc.new_stream])
def shard(request: pytest.FixtureRequest, tmp_path: Path) -> Shard:
    path = tmp_path / "x.arrow"
    path.write_bytes(pack(request.param, TABLE))
    return Shard(path, path.name)


def test_documents_and_single_rows(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pile_tools.corpus.arrow.BATCH_ROWS", 2)
    reader = RecordReader(shard)
    batches = list(documents(reader))
    assert max(map(len, batches)) == 2
    assert [row for batch in batches for row in batch.rows.tolist()] == list(range(11))
    assert [text for batch in batches for text in batch.texts()] == TEXTS
    assert [source for batch in batches for source in batch.sources] == [
        "A" if r % 2 else None for r in range(11)
    ]
    assert [text(RecordReader(shard), row).decode() for row in range(11)] == TEXTS
    with pytest.raises(NoDocumentError, match=r"x\.arrow:11: no such row of 11"):
        text(RecordReader(shard), 11)


@pytest.mark.parametrize("kept", [[], [0], [3, 4, 5], [0, 10], list(range(11))])
def test_kept_rows_are_those_that_arrow_filters(shard: Shard, kept: list[int]) -> None:
    keep = np.zeros(11, np.bool_)
    keep[kept] = True
    check_copy(shard.path)
    files = [io.BytesIO(), io.BytesIO()]
    assert [copy_rows(shard, keep, file) for file in files] == [len(kept)] * 2
    assert files[0].getvalue() == files[1].getvalue()
    assert pq.read_table(files[0]).equals(TABLE.filter(pa.array(keep)))
    for rows in (10, 12):
        with pytest.raises(DataError, match="changed meanwhile"):
            copy_rows(shard, np.ones(rows, np.bool_), io.BytesIO())


def test_a_cut_or_longer_file_is_refused(shard: Shard) -> None:
    whole = shard.path.read_bytes()
    for content in (b"", whole[:6], whole[: len(whole) // 2], whole[:-8], whole[:-1], whole + bytes(8)):
        shard.path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.arrow: .*fetch the file again"):
            list(documents(RecordReader(shard)))


def test_a_file_of_another_format_and_one_that_is_gone(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "x.arrow", "x.arrow")
    pq.write_table(TABLE, shard.path)
    with pytest.raises(DataError, match=r"holds a Parquet file; rename the file to end in \.parquet"):
        list(documents(RecordReader(shard)))
    shard.path.unlink()
    with pytest.raises(FileNotFoundError):
        list(documents(RecordReader(shard)))


def test_a_type_that_parquet_does_not_give_back_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    table = pa.table({"text": ["a"], "nothing": pa.array([{}], pa.struct([]))})
    path.write_bytes(pack(pa.ipc.new_stream, table))
    with pytest.raises(DataError, match=r"x\.arrow: column 'nothing' holds struct<>"):
        check_copy(path)
    seconds = pa.table({"text": ["a"], "when": pa.array([7], pa.timestamp("s", "UTC"))})
    path.write_bytes(pack(pa.ipc.new_stream, seconds))
    check_copy(path)
    file = io.BytesIO()
    copy_rows(Shard(path, path.name), np.array([True]), file)
    assert pq.read_table(file)["when"].cast(pa.timestamp("s", "UTC")).equals(seconds["when"])
