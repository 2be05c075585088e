"""Parquet shards against pyarrow's own reader: documents, one row of a row group, damaged files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.parquet import documents, open_parquet_shard, text
from pile_tools.corpus.records import RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError, NoDocumentError, RecordsError

TEXTS = [f"{row} zw\u00f6lf\n" * (row % 4) for row in range(11)]


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    path = tmp_path / "x.parquet"
    table = pa.table({"n": range(11), "text": TEXTS, "meta": [{"pile_set_name": "A"}] * 11})
    pq.write_table(table, path, row_group_size=4, write_page_checksum=True, compression="none")
    return Shard(path, path.name)


def test_documents_and_single_rows(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pile_tools.corpus.parquet.BATCH_ROWS", 3)
    batches = list(documents(RecordReader(shard)))
    assert [row for batch in batches for row in batch.rows.tolist()] == list(range(11))
    assert [text for batch in batches for text in batch.texts()] == TEXTS
    assert {source for batch in batches for source in batch.sources} == {"A"}
    assert [text(RecordReader(shard), row).decode() for row in range(11)] == TEXTS
    for row in (11, 10**12):
        with pytest.raises(NoDocumentError, match=rf"x\.parquet:{row}: no such row of 11"):
            text(RecordReader(shard), row)
    with pytest.raises(RecordsError, match="column 'body' is missing; its columns are 'n', 'text', 'meta'"):
        text(RecordReader(shard, text_field="body"), 0)


def test_a_damaged_row_group_is_named_and_others_are_read(shard: Shard) -> None:
    assert open_parquet_shard(shard.path).metadata.num_row_groups == 3
    content = bytearray(shard.path.read_bytes())
    column = open_parquet_shard(shard.path).metadata.row_group(1).column(1)
    content[column.dictionary_page_offset + column.total_compressed_size // 2] ^= 1
    shard.path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: damaged Parquet data .*fetch the file again"):
        list(documents(RecordReader(shard)))
    with pytest.raises(DataError, match=r"x\.parquet: damaged Parquet data"):
        text(RecordReader(shard), 5)
    assert text(RecordReader(shard), 9).decode() == TEXTS[9]


def test_files_that_are_no_parquet(shard: Shard, tmp_path: Path) -> None:
    whole = shard.path.read_bytes()
    for content in (b"", whole[:-1], whole[: len(whole) // 2], b"no Parquet"):
        shard.path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"x\.parquet: not a readable Parquet file .*fetch the file again"
        ):
            open_parquet_shard(shard.path)
    shard.path.write_bytes(b'{"text": "a"}\n')
    with pytest.raises(DataError, match=r"holds text; rename the file to end in \.jsonl"):
        open_parquet_shard(shard.path)
    with pytest.raises(FileNotFoundError):
        open_parquet_shard(tmp_path / "absent.parquet")
