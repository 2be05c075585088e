"""Records whose text is not where it was looked for, and texts that are under paths, lists and NaN."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.corpus import UNFINISHED_NAME, Shard
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.row_lookup import read_text
from pile_tools.formats.sizes import parse_share


def write(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def texts(path: Path, field: str) -> list[str]:
    found = [
        text for batch in ShardReader(Shard(path, path.name), text_field=field) for text in batch.texts()
    ]
    assert [read_text(Shard(path, path.name), row, field).decode() for row in range(len(found))] == found
    return found


@pytest.fixture(params=["dedup", "tokenize"])
def command(request: pytest.FixtureRequest, tmp_path: Path, demo_corpus: Path) -> list[str]:
    more = {"dedup": [], "tokenize": ["--tokenizer", str(demo_corpus)]}[request.param]
    return [request.param, str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--workers", "1", *more]


CONTENT = [{"id": i, "content": f"text {i} of some words"} for i in range(20)]


@pytest.mark.parametrize("empty_first", [False, True])
def test_text_under_another_key(
    command: list[str], empty_first: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in/b.jsonl", CONTENT)
    if empty_first:
        write(tmp_path / "in/a.jsonl", [])
    assert run(command) == 3
    error = capsys.readouterr().err
    assert "b.jsonl:0: no text under 'text'; its keys are 'id', 'content': name" in error
    assert "--text-field" in error
    # Passed over on request, they are too many, and that leaves nothing in the way of the right command.
    assert run([*command, "--on-bad-record", "skip"]) == 3
    error = capsys.readouterr().err
    assert "its keys are 'id', 'content': name" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out/manifest.json").exists()
    assert run([*command, "--text-field", "content"]) == 0
    counts = Manifest.read(tmp_path / "out").counts
    assert (counts["documents"], counts["skipped_records"]) == (20, 0)


def test_too_many_skipped_records_end_the_run_and_a_larger_share_goes_on(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [{"text": f"text {i} of some words"} for i in range(97)]
    write(tmp_path / "in/a.jsonl", [*good, *CONTENT[:3]])
    arguments = [*command, "--on-bad-record", "skip"]
    assert run(arguments) == 3
    error = capsys.readouterr().err
    assert "3 of 100 records would be skipped, 3% and more than the 1% of `--max-skipped`: " in error
    assert "a.jsonl:97: no text under 'text'; its keys are 'id', 'content'" in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == [UNFINISHED_NAME]
    assert run([*arguments, "--max-skipped", "2.9%"]) == 3

    def read_again(reader: ShardReader) -> Any:
        raise AssertionError("read again")

    if command[0] == "tokenize":
        monkeypatch.setattr(ShardReader, "__iter__", read_again)
    else:
        monkeypatch.setattr("pile_tools.stages.dedup_run.sign_shard", read_again)
    assert run([*arguments, "--max-skipped", "0.03"]) == 0
    counts = Manifest.read(tmp_path / "out").counts
    assert (counts["documents"], counts["skipped_records"]) == (97, 3)
    assert "max_skipped" not in Manifest.read(tmp_path / "out").parameters


def test_a_few_skipped_records_are_counted(command: list[str], tmp_path: Path) -> None:
    good = [{"text": f"text {i} of some words"} for i in range(99)]
    write(tmp_path / "in/a.jsonl", [*good, CONTENT[0]])
    assert run([*command, "--on-bad-record", "skip"]) == 0
    assert run([*command, "--on-bad-record", "skip", "--max-skipped", "0"]) == 0  # finished as it is


def test_records_that_were_mended_after_a_refusal(command: list[str], tmp_path: Path) -> None:
    write(tmp_path / "in/a.jsonl", CONTENT)
    assert run([*command, "--on-bad-record", "skip"]) == 3
    write(tmp_path / "in/a.jsonl", [{"text": record["content"]} for record in CONTENT])
    write(tmp_path / "in/b.jsonl", [{"text": "one more"}])
    assert run([*command, "--on-bad-record", "skip"]) == 0
    assert Manifest.read(tmp_path / "out").counts["documents"] == 21


def test_parquet_without_the_column_and_without_values(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    table = pa.table({"id": [1, 2], "content": ["one", "two"]})
    nulls = table.append_column("text", pa.nulls(2, pa.string()))
    for written in (table, nulls):
        pq.write_table(written, tmp_path / "in/a.parquet")
        for more in ([], ["--on-bad-record", "skip"]):
            assert run([*command, *more]) == 3
            error = capsys.readouterr().err
            assert "its columns are 'id', 'content'" in error
            assert "--text-field" in error
    assert run([*command, "--text-field", "content"]) == 0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("1%", "1/100"),
        ("0.5 %", "1/200"),
        ("0.05", "1/20"),
        ("1", "1"),
        ("100%", "1"),
        ("0", "0"),
        (".5", "1/2"),
    ],
)
def test_a_share_as_people_write_it(text: str, share: str) -> None:
    assert str(parse_share(text)) == share


@pytest.mark.parametrize("text", ["5", "101%", "-1%", "nan", "", "%", "1e-2"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ParameterError, match=r"not a share from 0 to 1; write it like 5% or 0\.05"):
        parse_share(text)


# Where a text may be.

MESSAGES = [
    {"messages": [{"role": "user", "content": "one"}, {"role": "bot", "content": "two"}], "0": {"1": "zero"}},
    {"messages": [{"role": "user", "content": "three"}, {"content": "four\ud800"}], "0": {"1": "none"}},
]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("messages.0.content", ["one", "three"]),
        ("messages.1.content", ["two", "four\ufffd"]),
        ("0.1", ["zero", "none"]),
    ],
)
def test_list_indexes_in_a_path(field: str, expected: list[str], tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.jsonl", MESSAGES), field) == expected


@pytest.mark.parametrize(
    "field", ["messages.2.content", "messages.-1.content", "messages.x", "messages.*.content"]
)
def test_paths_that_lead_nowhere(field: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", MESSAGES)
    with pytest.raises(DataError, match=r"a\.jsonl:0: no text under .*; its keys are 'messages', '0'"):
        texts(path, field)


def test_a_list_of_strings_is_joined_by_newlines(tmp_path: Path) -> None:
    records = [{"text": ["one", "two"]}, {"text": []}, {"text": ["three\udc00", ""]}, {"text": "four"}]
    expected = ["one\ntwo", "", "three\ufffd\n", "four"]
    assert texts(write(tmp_path / "a.jsonl", records), "text") == expected
    for bad in ([1], ["a", None], [["a"]]):
        with pytest.raises(DataError, match="'text' is no string"):
            texts(write(tmp_path / "b.jsonl", [{"text": bad}]), "text")


LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.string_view()])
def test_lists_in_parquet(make: Any, kind: Any, tmp_path: Path) -> None:
    n = 3000  # more than one batch, and lists that begin anywhere in it
    rows = [[f"{i} {j}" for j in range(i % 4)] for i in range(n)]
    values = [[part.encode() for part in row] for row in rows] if kind == pa.binary() else rows
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(values, make(kind))}), path, row_group_size=1700)
    reader = ShardReader(Shard(path, path.name))
    assert [text for batch in reader for text in batch.texts()] == ["\n".join(row) for row in rows]
    assert read_text(Shard(path, path.name), 2999).decode() == "\n".join(rows[2999])
    reader = ShardReader(Shard(path, path.name), text_field="text.1", on_bad_record="skip")
    assert [text for batch in reader for text in batch.texts()] == [row[1] for row in rows if len(row) > 1]
    assert reader.counts.skipped_records == sum(len(row) < 2 for row in rows)


def test_paths_and_nulls_in_parquet(tmp_path: Path) -> None:
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    messages = [record["messages"] for record in MESSAGES[:1]] + [None, [], [None], [{"content": "last"}]]
    lists = [["a", "b"], None, [], ["a", None], ["c"]]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"m": pa.array(messages, kind), "text": pa.array(lists)}), path)
    for field, expected in (("m.0.content", {0: "one", 4: "last"}), ("text", {0: "a\nb", 2: "", 4: "c"})):
        reader = ShardReader(Shard(path, path.name), text_field=field, on_bad_record="skip")
        found = {row: text for b in reader for row, text in zip(b.rows.tolist(), b.texts(), strict=True)}
        assert found == expected
        assert reader.counts.skipped_records == 5 - len(expected)
    pq.write_table(pa.table({"text": [[1]]}), path)
    with pytest.raises(DataError, match="holds list<element: int64>, not strings"):
        texts(path, "text")


def test_constants_that_python_writes_pass_through(command: list[str], tmp_path: Path) -> None:
    lines = [
        b'{"text": "one two", "score": NaN}\n',
        b'{"score": [Infinity, {"x": -Infinity}], "text": "caf\xc3\xa9", "meta": {"pile_set_name": "A"}}\r\n',
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_bytes(b"".join(lines))
    assert run(command) == 0
    counts = Manifest.read(tmp_path / "out").counts
    assert (counts["documents"], counts["repaired_documents"]) == (2, 0)
    assert "A" in counts["sources"]
    if command[0] == "dedup":
        assert (tmp_path / "out/a.jsonl").read_bytes() == b"".join(lines)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '["a", NaN]'])
def test_constants_are_no_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": {text}}}\n')
    with pytest.raises(DataError, match="'text' is no string"):
        texts(tmp_path / "a.jsonl", "text")
