"""Shard formats: the format of a name, the name of what is kept, the modules of each row."""

from importlib import import_module
from pathlib import Path

import pytest

from pile_tools.corpus.reader import load_reader
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.shard_formats import (
    DIRECTORY_SUFFIXES,
    FORMATS,
    SUFFIXES_LISTED,
    ShardFormat,
    find_format,
    kept_name,
)

COMPRESSIONS = ("", ".gz", ".zst", ".xz", ".bz2")
JSON_LINES = [name + packed for name in (".jsonl", ".ndjson", ".json") for packed in COMPRESSIONS]


def test_the_suffixes() -> None:
    assert sorted(FORMATS) == sorted([*JSON_LINES, ".parquet", ".arrow", ".txt"])
    assert set(DIRECTORY_SUFFIXES) == FORMATS.keys() - {".txt"}
    for suffix in FORMATS:
        assert all(part in SUFFIXES_LISTED for part in suffix.replace(".", " .").split())


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS)
def test_a_row_names_modules_that_read_and_write(row: ShardFormat) -> None:
    reader = load_reader(row)
    writer = import_module(f"pile_tools.corpus.{row.writer}")
    for function in (reader.documents, reader.text, writer.copy_rows, writer.check_copy):
        assert callable(function)
    assert row.suffix.endswith(row.compression)
    assert row.compression in COMPRESSIONS


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_name_is_known_by_its_end_in_any_case(suffix: str) -> None:
    for name in (f"a{suffix}", f"a/b.c{suffix.upper()}", f".x.parquet.jsonl{suffix}"):
        assert find_format(name) is FORMATS[suffix]
        assert Shard(Path(name), name).format is FORMATS[suffix]
    assert find_format(f"a{suffix}~") is None


@pytest.mark.parametrize(
    "name", ["", "a", "jsonl", "a.csv", "a.gz", "a.jsonl.lz4", "a.parquet.gz", "a.txt.zst"]
)
def test_names_that_are_not_those_of_shards(name: str) -> None:
    assert find_format(name) is None
    assert kept_name(name) == name


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a.jsonl", "a.jsonl"),
        ("a/b.JSON.GZ", "a/b.JSON.GZ"),
        ("a.ndjson.zst", "a.ndjson.zst"),
        ("a.json.xz", "a.jsonl.zst"),
        ("a.b.NDJSON.BZ2", "a.b.jsonl.zst"),
        ("a.arrow", "a.parquet"),
        ("a.parquet", "a.parquet"),
        ("a.txt", "a.txt"),
    ],
)
def test_the_name_of_what_is_kept(name: str, kept: str) -> None:
    assert kept_name(name) == kept
    assert kept_name(kept) == kept  # which dedup reads again
    assert find_format(kept) is not None
