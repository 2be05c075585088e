"""JSON lines against the module json: documents, one line, copies of lines."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus.jsonl import check_copy, copy_rows, documents, text
from pile_tools.corpus.records import RecordReader
from pile_tools.corpus.shard import Shard
from pile_tools.errors import DataError, NoDocumentError, RecordsError


def write(path: Path, content: bytes) -> Shard:
    path.write_bytes(content)
    return Shard(path, path.name)


TEXT = st.text(max_size=20)  # without surrogates
RECORDS = st.lists(st.none() | st.tuples(TEXT, st.none() | TEXT), max_size=10)


@settings(deadline=None, max_examples=50)
@given(records=RECORDS, escaped=st.booleans(), ended=st.booleans(), batch_bytes=st.integers(1, 50))
def test_documents_and_single_lines_are_those_that_json_reads(
    records: list[tuple[str, str | None] | None],
    escaped: bool,
    ended: bool,
    batch_bytes: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lines = [
        ""
        if record is None
        else json.dumps({"text": record[0], "meta": {"pile_set_name": record[1]}}, ensure_ascii=escaped)
        for record in records
    ]
    content = "\n".join(lines) + "\n" * (ended and bool(lines))
    shard = write(tmp_path_factory.mktemp("lines") / "x.jsonl", content.encode())
    reader = RecordReader(shard, batch_bytes=batch_bytes)
    batches = list(documents(reader))
    read = [row for b in batches for row in zip(b.rows.tolist(), b.texts(), b.sources, strict=True)]
    assert read == [(row, *record) for row, record in enumerate(records) if record is not None]
    assert all(sum(map(len, b.texts()[:-1])) < batch_bytes for b in batches)
    assert reader.counts.rows == content.count("\n") + (content != "" and not content.endswith("\n"))
    for row, record in enumerate(records):
        if record is None:
            with pytest.raises(NoDocumentError, match=rf"x\.jsonl:{row}: (a blank line|no such line)"):
                text(RecordReader(shard), row)
        else:
            assert text(RecordReader(shard), row) == record[0].encode()


@settings(deadline=None, max_examples=30)
@given(data=st.data(), lines=st.lists(st.binary(max_size=20), max_size=8), frame_bytes=st.integers(1, 30))
def test_kept_lines_are_copied_byte_for_byte(
    data: st.DataObject, lines: list[bytes], frame_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [line.replace(b"\n", b"\r") + b"\n" for line in lines]
    flags = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    shard = write(tmp_path_factory.mktemp("copy") / "x.jsonl", b"".join(lines))
    file = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pile_tools.corpus.jsonl.FRAME_BYTES", frame_bytes)
        assert copy_rows(shard, np.array(flags, np.bool_), file) == sum(flags)
    assert file.getvalue() == b"".join(line for line, keep in zip(lines, flags, strict=True) if keep)
    check_copy(shard.path)
    for rows in (len(lines) + 1, len(lines) - 1):
        if rows >= 0:
            with pytest.raises(DataError, match="changed meanwhile"):
                copy_rows(shard, np.ones(rows, np.bool_), io.BytesIO())


def test_bad_records_are_named_with_their_keys_or_passed_over(tmp_path: Path) -> None:
    content = b'{"text": "a"}\n{"body": "b", "n": 1}\nno JSON\n["c"]\n{"text": "d"}\n'
    shard = write(tmp_path / "x.jsonl", content)
    with pytest.raises(RecordsError, match=r"x\.jsonl:1: no text under 'text'; its keys are 'body', 'n'"):
        list(documents(RecordReader(shard)))
    reader = RecordReader(shard, on_bad_record="skip")
    assert [text for batch in documents(reader) for text in batch.texts()] == ["a", "d"]
    assert [row for row, _ in reader.skipped] == [1, 2, 3]
    for row, problem in ((1, "no text"), (2, "not JSON"), (3, "no text"), (5, "no such line")):
        with pytest.raises(NoDocumentError, match=rf"x\.jsonl:{row}: {problem}"):
            text(RecordReader(shard), row)


def test_a_long_line_is_counted_and_not_read(tmp_path: Path) -> None:
    line = json.dumps({"text": "x" * 100}).encode()
    shard = write(tmp_path / "x.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "b"}')
    reader = RecordReader(shard, max_record_bytes=50)
    assert [text for batch in documents(reader) for text in batch.texts()] == ["a", "b"]
    assert reader.oversized == [1]
    with pytest.raises(NoDocumentError, match=rf"x\.jsonl:1: a line of {len(line) + 1} bytes"):
        text(RecordReader(shard, max_record_bytes=50), 1)


@pytest.mark.parametrize("content", [b'[{"text": "a"}]', b'\n [\n{"text": "a"}\n]', b'[{"text": "a"},\n'])
def test_one_array_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl: one JSON array.*jq"):
        list(documents(RecordReader(write(tmp_path / "x.jsonl", content), on_bad_record="skip")))
