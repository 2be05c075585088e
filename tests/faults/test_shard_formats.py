"""Shards of every format: dedup, tokenize and trace lead from a token back to the line that was read."""

import bz2
import gzip
import json
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pile_tools_cli.main import run

from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.row_lookup import read_text
from pile_tools.corpus.shard_copy import check_copy, copy_rows
from pile_tools.corpus.shard_formats import FORMATS
from pile_tools.corpus.shards import Shard, find_corpus, list_shards
from pile_tools.errors import DataError, ParameterError
from pile_tools.storage.manifest import Manifest

TEXTS = ["alpha beta gamma", "delta epsilon zeta", "alpha beta gamma", "eta theta\niota é", "kappa lambda mu"]


def arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


def arrow_file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue().to_pybytes()


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=2)
    return sink.getvalue().to_pybytes()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}
TABLES: dict[str, Callable[[pa.Table], bytes]] = {
    ".parquet": parquet,
    ".arrow": arrow_stream,
    ".file.arrow": arrow_file,
}
LINE_NAMES = [f"a{name}{pack}" for name in (".jsonl", ".ndjson", ".json") for pack in PACK]
NAMES = [*LINE_NAMES, *(f"a{suffix}" for suffix in TABLES), "A.JSONL", "A.Json.XZ", "A.PARQUET", "A.ARROW"]


def content(name: str, texts: list[str]) -> bytes:
    """The bytes of a shard, made without the code under test."""
    lowered = name.lower()
    for suffix, make in reversed(TABLES.items()):
        if lowered.endswith(suffix):
            return make(pa.table({"id": list(range(len(texts))), "text": texts}))
    lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts)).encode()
    return PACK[next(pack for pack in reversed(PACK) if lowered.endswith(pack))](lines)


def write(path: Path, texts: list[str] = TEXTS) -> Shard:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(path.name, texts))
    return Shard(path, path.name)


def expected_name(name: str) -> str:
    if name.lower().endswith(".arrow"):
        return name[:-6] + ".parquet"
    return f"{name.split('.')[0]}.jsonl.zst" if name.lower().endswith((".xz", ".bz2")) else name


def ids_of(path: Path) -> list[int]:
    """The ids in a kept shard, read without the code under test."""
    lowered = path.name.lower()
    if lowered.endswith(".parquet"):
        return list(pq.read_table(path).column("id").to_pylist())
    data = path.read_bytes()
    if lowered.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    elif lowered.endswith(".gz"):
        data = gzip.decompress(data)
    return [json.loads(line)["id"] for line in data.splitlines()]


def test_every_format_has_a_test() -> None:
    tested = {row.suffix for name in NAMES for row in FORMATS.values() if name.lower().endswith(row.suffix)}
    assert tested == set(FORMATS) - {".txt"}


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_read_and_kept(name: str, tmp_path: Path) -> None:
    shard = write(tmp_path / name)
    assert [text for batch in ShardReader(shard) for text in batch.texts()] == TEXTS
    assert [read_text(shard, row).decode() for row in range(5)] == TEXTS
    for row in (-1, 5):
        with pytest.raises(DataError, match="it is not the file that was read"):
            read_text(shard, row)
    assert shard.kept_name == expected_name(name)
    target = tmp_path / "out" / shard.kept_name
    target.parent.mkdir()
    check_copy(shard)
    assert copy_rows(shard, np.array([True, False, True, False, True]), target) == 3
    assert ids_of(target) == [0, 2, 4]
    with pytest.raises(DataError, match="changed meanwhile"):
        copy_rows(shard, np.ones(4, bool), target)
    assert ids_of(target) == [0, 2, 4]


def test_from_a_token_back_to_the_line_of_every_format(
    tmp_path: Path, demo_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = random.Random(1)
    originals: dict[str, list[str]] = {}
    for index, name in enumerate(NAMES):
        words = [" ".join(f"w{numbers.randrange(10**6)}" for _ in range(8)) for _ in range(4)]
        originals[f"{index}/{name}"] = [words[0], words[1], words[0], *words[2:]]
        write(tmp_path / f"in/{index}/{name}", originals[f"{index}/{name}"])
    kept, tokens = tmp_path / "kept", tmp_path / "tokens"
    assert run(["dedup", str(tmp_path / "in"), "-o", str(kept), "--exact", "--workers", "1"]) == 0
    manifest = Manifest.read(kept)
    outputs = {entry.name: entry for entry in manifest.outputs if entry.documents is not None}
    assert {entry.name for entry in manifest.inputs} == set(originals)
    assert {entry.input or entry.name for entry in outputs.values()} == set(originals)
    for name in originals:
        folder, _, base = name.partition("/")
        assert outputs[f"{folder}/{expected_name(base)}"].documents == 4
        assert ids_of(kept / folder / expected_name(base)) == [0, 1, 3, 4]
    assert run(["tokenize", str(kept), "-o", str(tokens), "--tokenizer", str(demo_corpus)]) == 0
    order = ["order", str(tokens), "--seq-length", "512", "--batch-size", "6"]
    assert run([*order, "--steps", "1"]) == 0
    capsys.readouterr()
    seen = set()
    for row in range(4):
        assert (
            run(["trace", "--data", str(tokens), "--step", "0", "--row", str(row), "--text", "--json"]) == 0
        )
        for piece in json.loads(capsys.readouterr().out)["pieces"]:
            text = originals[piece["original_shard"]][piece["original_row"]]
            assert piece["span"]["text"] in text
            assert piece["span"]["before"] in text
            seen.add(piece["original_shard"])
    assert seen == set(originals)
    for name in list(originals)[::4]:
        assert run(["explain", str(kept), "--shard", name, "--row", "2", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["duplicate_of_shard"], answer["duplicate_of_row"]) == (name, 0)
        assert answer["text"] == answer["duplicate_of_text"] == originals[name][2]
    for directory in (kept, tokens):
        assert run(["verify", str(directory)]) == 0
        assert run(["card", str(directory), "--name", "x", "--description", "y"]) == 0
    assert not (kept / "inputs.json").exists()
    assert set(json.loads((kept / "locations.json").read_bytes())) == set(originals)


@pytest.mark.parametrize(
    "names", [("a.jsonl.xz", "a.jsonl.zst"), ("a.jsonl.bz2", "a.json.xz"), ("a.arrow", "a.parquet")]
)
def test_two_shards_whose_kept_records_would_have_one_name(names: tuple[str, str], tmp_path: Path) -> None:
    for index, name in enumerate(names):
        write(tmp_path / "in" / name, [f"text {index}"])
    assert run(["dedup", str(tmp_path / "in"), "-o", str(tmp_path / "kept"), "--exact"]) == 2
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "locations.json", "inputs.json", "croissant.json", "order.json", "x_order.json",
     "digests.json", "dedup.arrow", "dedup.parquet", "overlay.json"],
)  # fmt: skip
def test_a_shard_called_like_a_record(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in" / name)
    assert run(["dedup", str(tmp_path / "in" / name), "-o", str(tmp_path / "kept"), "--exact"]) == 2
    assert f"{name}: a shard of this name would collide with" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


VALUES = {
    "array.json": b'[{"text": "one"}, {"text": "two"}]',
    "lines_of_array.json": b'[\n{"text": "one"},\n{"text": "two"}\n]\n',
    "dataset_infos.json": b'{"default": {"splits": {"train": 3}}}',
    "tokenizer.json": b'{\n  "version": "1.0",\n  "model": {}\n}\n',
    "open.json": b'{"a": 1,\n "b": 2}',
    "list.json": b"[1, 2, 3]",
    "nan.json": b'{"loss": NaN}\n\n',
    "mark.json": b'\xef\xbb\xbf{\n"a": 1}',
}


@pytest.mark.parametrize("name", VALUES)
def test_a_json_file_that_is_one_value(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a.jsonl")
    (tmp_path / name).write_bytes(VALUES[name])
    for given in (tmp_path, str(tmp_path / "*")):
        corpus = find_corpus([given])
        assert [shard.name for shard in corpus.shards] == ["a.jsonl"]
        assert corpus.passed_over == {"json": 1}
    assert run(["dedup", str(tmp_path / name), "-o", str(tmp_path / "kept")]) == 3
    error = capsys.readouterr().err
    assert f"{name}: one JSON " in error
    assert ("jq -c" in error) == ("array" in name)


@pytest.mark.parametrize(
    ("lines", "text_field"),
    [
        (b'{"text": "one"}', "text"),
        (b'{"text": "one"}\n{"text": "two"}\n', "text"),
        (b'\n\xef\xbb\xbf\n{"a": 1}\n{"text": "two"}\n', "text"),
        (b'{"content": {"raw": "one"}}\n', "content.raw"),
        (b'["one"]\n', "0"),
        (b'{"text": "cut\n', "text"),
        (b"not JSON\n", "text"),
        (b'{"text": "\xff"}', "text"),
        (b'{"text": ["one", "two"]}', "text"),
    ],
)
def test_a_json_file_with_a_record_in_each_line(lines: bytes, text_field: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(lines)
    for given in (tmp_path, tmp_path / "a.json"):
        assert [shard.name for shard in list_shards([given], text_field=text_field)] == ["a.json"]


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json.gz", "a.ndjson.zst", "a.jsonl.xz"])
@pytest.mark.parametrize("value", ["array.json", "lines_of_array.json"])
def test_one_array_is_never_read_as_lines(name: str, value: str, policy: str, tmp_path: Path) -> None:
    # Its last line is a record, which would be the only document.
    (tmp_path / name).write_bytes(PACK[os.path.splitext(name)[1].replace(".jsonl", "")](VALUES[value]))
    reader = ShardReader(Shard(tmp_path / name, name), on_bad_record=policy)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=rf"{name}: one JSON array.*jq -c"):
        list(reader)


@pytest.mark.parametrize("name", ["a.jsonl.xz", "a.jsonl.bz2", "a.arrow", "a.file.arrow"])
def test_a_cut_or_longer_file_is_an_error(name: str, tmp_path: Path) -> None:
    whole = content(name, TEXTS)
    shard = Shard(tmp_path / name, name)
    cuts = {0, 1, 7, 8, len(whole) // 2, len(whole) - 9, len(whole) - 8, len(whole) - 1}
    # A stream that is cut between two batches is a stream, but for its missing end.
    cuts |= set(range(0, len(whole), 8)) if name == "a.arrow" else set()
    for changed in (*(whole[:cut] for cut in sorted(cuts)), whole + b"more, and more"):
        shard.path.write_bytes(changed)
        with pytest.raises(DataError, match=name):
            list(ShardReader(shard))


@pytest.mark.parametrize("name", ["a.jsonl.xz", "a.jsonl.bz2"])
def test_streams_end_to_end_are_one_file(name: str, tmp_path: Path) -> None:
    padding = bytes(8) if name.endswith(".xz") else b""
    shard = Shard(tmp_path / name, name)
    shard.path.write_bytes(content(name, TEXTS[:2]) + padding + content(name, TEXTS[2:]) + padding)
    assert [text for batch in ShardReader(shard) for text in batch.texts()] == TEXTS
    shard.path.write_bytes(content(name, TEXTS) + bytes(3))
    with pytest.raises(DataError, match="damaged"):
        list(ShardReader(shard))


@pytest.mark.parametrize("make", [arrow_stream, arrow_file])
@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int8(), pa.string())],
)
def test_arrow_columns_of_every_kind_of_text(
    make: Callable[[pa.Table], bytes], kind: pa.DataType, tmp_path: Path
) -> None:
    texts = pa.array([*TEXTS, None]).cast(pa.binary() if kind == pa.binary() else pa.string()).cast(kind)
    table = pa.table({"text": texts, "when": pa.array(range(6), pa.timestamp("s"))})
    table = table.replace_schema_metadata({"huggingface": '{"info": {}}'})
    shard = Shard(tmp_path / "a.arrow", "a.arrow")
    shard.path.write_bytes(make(table))
    reader = ShardReader(shard, on_bad_record="skip")
    assert [text for batch in reader for text in batch.texts()] == TEXTS
    assert (reader.counts.rows, reader.counts.skipped_records) == (6, 1)
    check_copy(shard)
    keep = np.array([False, True, True, False, False, True])
    assert copy_rows(shard, keep, tmp_path / "a.parquet") == 3
    copy = pq.read_table(tmp_path / "a.parquet")
    assert copy.schema.field("text").type == kind
    assert copy.schema.metadata[b"huggingface"] == b'{"info": {}}'
    assert copy.column("text").to_pylist() == [
        text for text, k in zip(texts.to_pylist(), keep, strict=True) if k
    ]
    assert copy.column("when").cast(pa.timestamp("s")).cast(pa.int64()).to_pylist() == [1, 2, 5]


def test_an_arrow_column_that_parquet_cannot_hold_is_named(tmp_path: Path) -> None:
    empty = pa.array([{}] * 5, pa.struct([]))
    (tmp_path / "a.arrow").write_bytes(arrow_stream(pa.table({"text": TEXTS, "nothing": empty})))
    with pytest.raises(DataError, match=r"a\.arrow: column 'nothing' holds struct<>"):
        check_copy(Shard(tmp_path / "a.arrow", "a.arrow"))


def test_arrow_text_that_is_not_utf8_is_repaired_and_a_wild_offset_refused(tmp_path: Path) -> None:
    shard = Shard(tmp_path / "a.arrow", "a.arrow")
    offsets = np.array([0, 3, 5, 6], np.int32).tobytes()
    column = pa.Array.from_buffers(pa.string(), 3, [None, pa.py_buffer(offsets), pa.py_buffer(b"a\xffbcde")])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as writer:
        writer.write_batch(pa.record_batch({"text": column}))
    whole = sink.getvalue().to_pybytes()
    shard.path.write_bytes(whole)
    assert [text for batch in ShardReader(shard) for text in batch.texts()] == ["a\ufffdb", "cd", "e"]
    assert read_text(shard, 0) == "a\ufffdb".encode()
    assert whole.count(offsets) == 1
    for wild in ([0, 300, 5, 6], [0, 5, 3, 6], [0, 3, 5, 600], [0, -3, 5, 6]):
        shard.path.write_bytes(whole.replace(offsets, np.array(wild, np.int32).tobytes()))
        with pytest.raises(DataError, match=r"a\.arrow: damaged Arrow data"):
            list(ShardReader(shard))
        with pytest.raises(DataError, match=r"a\.arrow: damaged Arrow data"):
            [read_text(shard, row) for row in range(3)]
        with pytest.raises(DataError, match=r"a\.arrow: damaged Arrow data"):
            copy_rows(shard, np.ones(3, bool), tmp_path / "a.parquet")


def test_the_former_name_of_the_locations_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in/a.jsonl")
    assert run(["dedup", str(tmp_path / "in"), "-o", str(tmp_path / "kept"), "--exact"]) == 0
    (tmp_path / "kept/locations.json").rename(tmp_path / "kept/inputs.json")
    capsys.readouterr()
    assert run(["explain", str(tmp_path / "kept"), "--shard", "a.jsonl", "--row", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["duplicate_of_row"] == 0
    assert run(["verify", str(tmp_path / "kept")]) == 0


def test_a_corpus_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in/a.jsonl")
    scan, scanned = os.scandir, list[str]()

    def scandir(path: str = ".") -> object:
        scanned.append(str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert run(["dedup", str(tmp_path / "in"), "-o", str(tmp_path / "kept"), "--exact"]) == 0
    assert scanned.count(str(tmp_path / "in")) == 1


def test_a_keep_rule_that_is_not_in_the_table(tmp_path: Path) -> None:
    from pile_tools.stages.dedup.job import resolve_job

    with pytest.raises(ParameterError, match="keep 'newest': must be one of first, last, longest"):
        resolve_job(keep="newest")
