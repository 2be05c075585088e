import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.row_lookup import read_text
from pile_tools.corpus.shards import Shard
from pile_tools.errors import DataError


def shard(path: Path, content: bytes) -> Shard:
    if path.name.endswith(".zst"):
        content = zstandard.ZstdCompressor().compress(content)
    elif path.name.endswith(".gz"):
        content = gzip.compress(content)
    path.write_bytes(content)
    return Shard(path, path.name)


def read(reader: ShardReader) -> list[tuple[int, str, str | None]]:
    found = []
    for batch in reader:
        assert batch.offsets[0] == 0
        assert batch.offsets[-1] == len(batch.text)
        found += list(zip(batch.rows.tolist(), batch.texts(), batch.sources, strict=True))
    return found


LINES = (
    b'{"text": "one", "meta": {"pile_set_name": "A"}}\n'
    b"\n"
    b'{"meta": {"pile_set_name": "B"}, "text": "zw\\u00f6lf \\ud83d\\ude00"}\r\n'
    b'{"text": "", "meta": null}'
)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.jsonl.zst"])
def test_lines_of_every_format(tmp_path: Path, name: str) -> None:
    reader = ShardReader(shard(tmp_path / name, LINES))
    assert read(reader) == [(0, "one", "A"), (2, "zwölf 😀", "B"), (3, "", None)]
    counts = reader.counts
    assert (counts.rows, counts.documents, counts.blank_lines, counts.repaired_documents) == (4, 3, 1, 0)
    assert counts.text_bytes == len("onezwölf 😀".encode())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON"),
        (b'{"text": "a"', "not JSON"),
        (b'{"text": NaN}', "'text' is no string"),
        (b'{"meta": {}}', "no text under 'text'"),
        (b'{"text": null}', "no text under 'text'"),
        (b'{"text": 7}', "'text' is no string"),
        (b'["text"]', "no text under 'text'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_bad_record_is_named_or_skipped(tmp_path: Path, line: bytes, reason: str) -> None:
    given = shard(tmp_path / "x.jsonl", b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n')
    with pytest.raises(DataError, match=rf"x\.jsonl:1: .*{reason}.*--on-bad-record"):
        read(ShardReader(given))
    reader = ShardReader(given, on_bad_record="skip")
    assert read(reader) == [(0, "a", None), (2, "b", None)]
    assert reader.counts.skipped_records == 1
    assert reader.skipped[0][0] == 1


@pytest.mark.parametrize(
    ("raw", "text", "replaced"),
    [
        (b'{"text": "a\xffb"}', "a\ufffdb", 1),
        (b'{"text": "a\\ud800b"}', "a\ufffdb", 1),
        (b'{"text": "\\udc00\\ud83d\\ude00\\ud83d"}', "\ufffd😀\ufffd", 2),
        (b'{"text": "\xe2\x82 \xef\xbf\xbd \\ufffd"}', "\ufffd \ufffd \ufffd", 1),
        (b'{"text": "fine \\ufffd", "other": "\xff"}', "fine \ufffd", 0),
        (b'{"text": "\xed\xa0\x80"}', "\ufffd\ufffd\ufffd", 3),
    ],
)
def test_invalid_text_is_repaired_and_counted(tmp_path: Path, raw: bytes, text: str, replaced: int) -> None:
    reader = ShardReader(shard(tmp_path / "x.jsonl", raw + b"\n"))
    assert read(reader) == [(0, text, None)]
    assert (reader.counts.replaced_characters, reader.counts.repaired_documents) == (replaced, replaced > 0)


def test_byte_order_mark_before_the_first_record(tmp_path: Path) -> None:
    assert read(ShardReader(shard(tmp_path / "x.jsonl", b'\xef\xbb\xbf{"text": "a"}\n'))) == [(0, "a", None)]


def test_fields_by_path(tmp_path: Path) -> None:
    given = shard(tmp_path / "x.jsonl", b'{"body": {"raw": "a"}, "set": "S", "text": "no"}\n')
    assert read(ShardReader(given, text_field="body.raw", source_field="set")) == [(0, "a", "S")]


def test_fields_whose_names_have_a_dot(tmp_path: Path) -> None:
    lines = (
        b'{"a.text": "x", "meta.pile_set_name": "A", "meta": {"pile_set_name": "no"}}\n'
        b'{"a": {"text": "y"}, "meta": {"pile_set_name": "B"}}\n'
        b'{"a.text": "\\ud800", "meta.pile_set_name": "C"}\n'
    )
    source = shard(tmp_path / "x.jsonl", lines)
    expected = [(0, "x", "A"), (1, "y", "B"), (2, "\ufffd", "C")]
    assert read(ShardReader(source, text_field="a.text")) == expected
    assert [read_text(source, row, "a.text").decode() for row in range(3)] == ["x", "y", "\ufffd"]

    columns: dict[str, Any] = {"a.text": ["x"], "meta.pile_set_name": ["A"]}
    for name, more in (("1.parquet", {}), ("2.parquet", {"meta": [{"pile_set_name": "no"}], "a": [1]})):
        pq.write_table(pa.table(columns | more), tmp_path / name)
        source = Shard(tmp_path / name, name)
        assert read(ShardReader(source, text_field="a.text")) == [(0, "x", "A")]
        assert read_text(source, 0, "a.text") == b"x"


@pytest.mark.parametrize("field", ["text", "meta.text"])
def test_parquet_with_two_columns_of_one_name(tmp_path: Path, field: str) -> None:
    strings = pa.array(["x"])
    table = pa.Table.from_arrays([strings, strings], ["text", "text"])
    if field == "meta.text":
        table = pa.table({"meta": pa.StructArray.from_arrays([strings, strings], ["text", "text"])})
    pq.write_table(table, tmp_path / "x.parquet")
    source = Shard(tmp_path / "x.parquet", "x.parquet")
    with pytest.raises(DataError, match="2 columns called"):
        read(ShardReader(source, text_field=field))
    with pytest.raises(DataError, match="2 columns called"):
        read_text(source, 0, field)


def test_oversized_record_is_passed_over_and_counted(tmp_path: Path) -> None:
    large = json.dumps({"text": "x" * 3_000_000}).encode()
    given = shard(tmp_path / "x.jsonl.zst", b'{"text": "a"}\n' + large + b'\n{"text": "b"}\n')
    reader = ShardReader(given, max_record_bytes=1000)
    assert read(reader) == [(0, "a", None), (2, "b", None)]
    assert (reader.oversized, reader.counts.oversized_records, reader.counts.rows) == ([1], 1, 3)


def test_batches_are_bounded(tmp_path: Path) -> None:
    content = b"".join(json.dumps({"text": "x" * 100}).encode() + b"\n" for _ in range(100))
    batches = list(ShardReader(shard(tmp_path / "x.jsonl", content), batch_bytes=1000))
    assert [len(batch) for batch in batches] == [10] * 10


def test_text_file_is_one_document(tmp_path: Path) -> None:
    assert read(ShardReader(shard(tmp_path / "x.txt", b"a\r\nb\xff"))) == [(0, "a\r\nb\ufffd", None)]


@pytest.mark.parametrize("name", ["x.jsonl.zst", "x.jsonl.gz"])
def test_cut_or_empty_compressed_file(tmp_path: Path, name: str) -> None:
    given = shard(tmp_path / name, LINES)
    data = given.path.read_bytes()
    for length in (0, 5, len(data) // 2, len(data) - 1):
        given.path.write_bytes(data[:length])
        with pytest.raises(DataError, match=name):
            read(ShardReader(given))


META = pa.array([{"pile_set_name": "A"}, {"pile_set_name": None}, None])


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())],
)
def test_parquet_of_every_string_type(tmp_path: Path, kind: Any) -> None:
    values: list[Any] = ["one", "", "zwölf"]
    if kind == pa.binary():
        values = [value.encode() for value in values]
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": pa.array(values, kind), "meta": META}), path)
    reader = ShardReader(Shard(path, path.name))
    assert read(reader) == [(0, "one", "A"), (1, "", None), (2, "zwölf", None)]


def test_parquet_bad_records_repairs_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": pa.array([b"a\xff", None, b"b" * 50], pa.binary())}), path)
    with pytest.raises(DataError, match=r"x\.parquet:1: no text"):
        read(ShardReader(Shard(path, path.name)))
    reader = ShardReader(Shard(path, path.name), on_bad_record="skip", max_record_bytes=40)
    assert read(reader) == [(0, "a\ufffd", None)]
    assert (reader.counts.replaced_characters, reader.skipped[0][0], reader.oversized) == (1, 1, [2])


def test_parquet_without_text_and_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"body": ["a"]}), path)
    with pytest.raises(DataError, match="--text-field"):
        read(ShardReader(Shard(path, path.name)))
    pq.write_table(pa.table({"text": [1]}), path)
    with pytest.raises(DataError, match="int64"):
        read(ShardReader(Shard(path, path.name)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="not a readable Parquet"):
        read(ShardReader(Shard(path, path.name)))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst", "a.parquet"])
def test_only_the_rows_that_are_asked_for(tmp_path: Path, name: str) -> None:
    texts = [f"document {i}" for i in range(2500)]
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": pa.array([*texts, None])}), tmp_path / name)
        source = Shard(tmp_path / name, name)
    else:
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        source = shard(tmp_path / name, "".join([*lines, "no JSON\n"]).encode())
    wanted = np.zeros(2450, dtype=np.bool_)
    wanted[[0, 3, 1500, 2449]] = True
    reader = ShardReader(source, only_rows=wanted)
    assert [(row, text) for row, text, _ in read(reader)] == [(i, texts[i]) for i in (0, 3, 1500, 2449)]
    assert (reader.counts.documents, reader.counts.skipped_records) == (4, 0)
    assert [row for row, _, _ in read(ShardReader(source, only_rows=1500))] == [1500]
    assert read(ShardReader(source, only_rows=10**30)) == []
    reader = ShardReader(source, only_rows=7, max_record_bytes=2)
    assert read(reader) == []
    assert reader.oversized == [7]
