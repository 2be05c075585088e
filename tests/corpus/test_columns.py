"""Documents out of Arrow columns against the same values in plain Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus.columns import batch_documents, batch_text, field_columns, first_line
from pile_tools.corpus.records import DocumentBatch, RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError, NoDocumentError, RecordsError

SHARD = Shard(Path("x.parquet"), "x.parquet")
STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]


def read(reader: RecordReader, batch: pa.RecordBatch) -> dict[int, tuple[str, str | None]]:
    batches: list[DocumentBatch] = list(batch_documents(reader, batch.schema.names, batch))
    return {
        row: (text, source)
        for part in batches
        for row, text, source in zip(part.rows.tolist(), part.texts(), part.sources, strict=True)
    }


def record_batch(**columns: Any) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})


@settings(deadline=None, max_examples=50)
@given(
    texts=st.lists(st.none() | st.text(max_size=8), max_size=12),
    kind=st.sampled_from(STRINGS),
    wanted=st.none() | st.lists(st.booleans(), max_size=14),
    limit=st.none() | st.integers(0, 10),
    start=st.integers(0, 3),
)
def test_documents_are_the_values_of_the_column(
    texts: list[str | None], kind: pa.DataType, wanted: list[bool] | None, limit: int | None, start: int
) -> None:
    metas = [None if index % 3 else {"pile_set_name": f"S{index}"} for index in range(len(texts))]
    meta_type = pa.struct([("pile_set_name", pa.string())])
    batch = pa.record_batch({"text": pa.array(texts, kind), "meta": pa.array(metas, meta_type)}).slice(start)
    reader = RecordReader(
        SHARD,
        on_bad_record="skip",
        max_record_bytes=limit,
        only_rows=None if wanted is None else np.array(wanted, np.bool_),
    )
    expected, skipped, oversized = {}, [], []
    for row, text in enumerate(texts[start:]):
        if wanted is not None and (row >= len(wanted) or not wanted[row]):
            continue
        if text is None:
            skipped.append(row)
        elif limit is not None and len(text.encode()) > limit:
            oversized.append(row)
        else:
            expected[row] = (text, None if (row + start) % 3 else f"S{row + start}")
    assert read(reader, batch) == expected
    assert ([row for row, _ in reader.skipped], reader.oversized) == (skipped, oversized)
    assert reader.counts.rows == len(batch)
    for row, text in enumerate(texts[start:]):
        one_row = RecordReader(SHARD, max_record_bytes=limit)
        if text is None or (limit is not None and len(text.encode()) > limit):
            with pytest.raises(NoDocumentError, match=rf"x\.parquet:{row}: (no text in|a text of)"):
                batch_text(one_row, batch.schema.names, batch, row, row)
        else:
            assert batch_text(one_row, batch.schema.names, batch, row, row) == text.encode()


def test_columns_that_fields_may_be_in() -> None:
    assert field_columns(["meta", "text", "n", "meta.x"], "text", "meta.x") == ["meta", "text", "meta.x"]
    assert field_columns(["a", "b"], "text") == []


def test_paths_through_structs_and_lists() -> None:
    chat = [[{"content": "a"}, {"content": "b"}], [{"content": "c"}], [], None]
    batch = record_batch(chat=chat)
    reader = RecordReader(SHARD, text_field="chat.1.content", on_bad_record="skip")
    assert read(reader, batch) == {0: ("b", None)}
    reader = RecordReader(SHARD, text_field="chat.0.content", on_bad_record="skip")
    assert read(reader, batch) == {0: ("a", None), 1: ("c", None)}
    with pytest.raises(RecordsError, match=r"column 'chat\.0\.role' is missing; its columns are 'chat'"):
        read(RecordReader(SHARD, text_field="chat.0.role"), batch)


@pytest.mark.parametrize("make", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_lists_of_strings_are_joined(make: Any) -> None:
    lists = [["a", "", "b"], [], ["c", None], None, ["d"]]
    batch = pa.record_batch({"text": pa.array(lists, make(pa.string()))})
    reader = RecordReader(SHARD, on_bad_record="skip")
    assert {row: text for row, (text, _) in read(reader, batch).items()} == {0: "a\n\nb", 1: "", 4: "d"}
    later = read(RecordReader(SHARD, on_bad_record="skip"), batch.slice(2))
    assert later == {2: ("d", None)}


def test_bytes_that_are_no_utf8_are_repaired_and_counted() -> None:
    reader = RecordReader(SHARD)
    assert read(reader, record_batch(text=[b"a\xff", "\ufffd".encode()])) == {
        0: ("a\ufffd", None),
        1: ("\ufffd", None),
    }
    assert (reader.counts.repaired_documents, reader.counts.replaced_characters) == (1, 1)


def test_columns_without_text() -> None:
    with pytest.raises(RecordsError, match=r"x\.parquet: column 'text' is missing; its columns are 'body'"):
        read(RecordReader(SHARD), record_batch(body=["a"]))
    with pytest.raises(RecordsError, match="column 'text' holds int64, not strings"):
        read(RecordReader(SHARD), record_batch(text=[1]))
    two = pa.RecordBatch.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"])
    with pytest.raises(DataError, match=r"x\.parquet: 2 columns called 'text'"):
        read(RecordReader(SHARD), two)
    with pytest.raises(RecordsError, match=r"x\.parquet:1: no text in column 'text'"):
        read(RecordReader(SHARD), record_batch(text=["a", None]))


def test_the_first_line_of_a_message() -> None:
    assert first_line(ValueError("what.\nwhere.")) == "what"
