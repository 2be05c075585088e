"""Text files: one document each, read and copied whole."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus.records import RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.text_file import check_copy, copy_rows, documents, text
from pile_tools.errors import DataError, NoDocumentError


@settings(deadline=None, max_examples=30)
@given(content=st.text(max_size=40).map(str.encode) | st.just(b"a\xff\r\n\xe2\x82"))
def test_the_file_is_its_one_document(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    path.write_bytes(content)
    shard, expected = Shard(path, path.name), content.decode("utf-8", "replace")
    reader = RecordReader(shard)
    (batch,) = documents(reader)
    assert (batch.rows.tolist(), batch.texts(), batch.sources) == ([0], [expected], [None])
    assert text(RecordReader(shard), 0) == expected.encode()
    assert reader.counts.replaced_characters == expected.count("\ufffd") - content.decode(
        "utf-8", "ignore"
    ).count("\ufffd")
    file = io.BytesIO()
    assert copy_rows(shard, np.array([True]), file) == 1
    assert file.getvalue() == content
    check_copy(path)


def test_rows_that_do_not_exist_and_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"eleven byte")
    shard = Shard(path, path.name)
    with pytest.raises(NoDocumentError, match=r"x\.txt:1: no text in that row"):
        text(RecordReader(shard), 1)
    assert list(documents(RecordReader(shard, only_rows=1))) == []
    reader = RecordReader(shard, max_record_bytes=10)
    assert list(documents(reader)) == []
    assert (reader.oversized, reader.counts.rows) == ([0], 1)
    with pytest.raises(NoDocumentError, match="a file of 11 bytes"):
        text(reader, 0)
    with pytest.raises(DataError, match="1 rows, but 2 were read before"):
        copy_rows(shard, np.array([True, True]), io.BytesIO())


def test_packed_data_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match=r"x\.txt: \.txt by its name, but holds gzip data"):
        list(documents(RecordReader(Shard(path, path.name))))
