"""`pile-tools explain`: both texts side by side, the differing words marked."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run

WORDS = [f"word{i}" for i in range(200)]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("explain")
    changed = [*WORDS[:100], "other", *WORDS[101:]]
    texts = [" ".join(WORDS), "something else", " ".join(changed), "\x1b[2J something, else!"]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (directory / "in.jsonl").write_text("".join([*lines[:1], "\n", *lines[1:]]))
    assert run(["dedup", str(directory / "in.jsonl"), "-o", str(directory / "out"), "--workers", "1"]) == 0
    return directory / "out"


def test_a_removed_document(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(output), "--shard", "in.jsonl", "--row", "3"]) == 0
    printed = capsys.readouterr().out
    # Of 196 shingles each, five differ: 191 / 201.
    assert "in.jsonl:3 was removed as a duplicate of in.jsonl:0: similarity 0.9502, component 0" in printed
    assert [line.split(" │ ")[0].strip() for line in printed.splitlines() if "[-" in line] == ["[-other-]"]
    assert printed.count("{+word100+}") == 1
    assert "\x1b" not in printed


def test_json(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(output), "--shard", "in.jsonl", "--row", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["removed"], found["duplicate_of_row"], found["jaccard"]) == (True, 0, 191 / 201)
    assert found["duplicate_of_text"] == " ".join(WORDS)


def test_documents_that_stay(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", str(output), "--shard", "in.jsonl", "--row", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[1].strip() == "in.jsonl:3"
    # Its partner begins with an escape sequence, which is a word character apart: it is no duplicate.
    assert run(["explain", str(output), "--shard", "in.jsonl", "--row", "2"]) == 0
    assert "stays" in capsys.readouterr().out


def test_corpus_that_moved_or_changed(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = output.parent / "in.jsonl"
    moved = tmp_path / "in.jsonl"
    source.rename(moved)
    arguments = ["explain", str(output), "--shard", "in.jsonl", "--row", "3"]
    try:
        assert run(arguments) == 1
        assert "--corpus" in capsys.readouterr().err
        assert run([*arguments, "--corpus", str(tmp_path)]) == 0
        content = moved.read_text()
        moved.write_text(content + "\n")
        assert run([*arguments, "--corpus", str(tmp_path)]) == 3
        moved.write_text(content.replace("word7 ", "wordX ", 1))
        assert run([*arguments, "--corpus", str(tmp_path)]) == 3
        assert "changed since" in capsys.readouterr().err
        moved.write_text(content)
    finally:
        moved.rename(source)


def test_narrow_terminal(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "4")
    assert run(["explain", str(output), "--shard", "in.jsonl", "--row", "3"]) == 0
    assert "[-other-]" in capsys.readouterr().out


def test_many_duplicates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.jsonl").write_text((json.dumps({"text": "one and the same"}) + "\n") * 151)
    assert run(["dedup", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--workers", "1"]) == 0
    capsys.readouterr()
    arguments = ["explain", str(tmp_path / "out"), "--shard", "in.jsonl", "--row", "0"]
    assert run(arguments) == 0
    printed = capsys.readouterr().out
    assert "100 of the 150 that name it:" in printed
    assert printed.count("  in.jsonl:") == 100
    assert run([*arguments, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["duplicates"]) == 150


@pytest.mark.parametrize(
    ("shard", "row", "code"),
    [
        ("in.jsonl", "1", 1),
        ("in.jsonl", "99", 1),
        ("in.jsonl", "-1", 1),
        ("in.jsonl", "99999999999999", 1),
        ("in.jsonl", "9" * 30, 1),
        ("no", "0", 2),
    ],
)
def test_what_there_is_not(shard: str, row: str, code: int, output: Path) -> None:
    assert run(["explain", str(output), "--shard", shard, "--row", row]) == code


@pytest.mark.parametrize("saved", [True, False])
def test_against_another_corpus(saved: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = " ".join([*WORDS[:100], "other", *WORDS[101:]])
    for name, text in (("one", " ".join(WORDS)), ("two", changed)):
        (tmp_path / name).mkdir()
        record = {"body" if saved and name == "one" else "text": text}
        (tmp_path / name / "in.jsonl").write_text(json.dumps(record) + "\n")
    field = ["--save-signatures", "--text-field", "body"] if saved else []
    one, two, first = str(tmp_path / "one"), str(tmp_path / "two"), str(tmp_path / "first")
    assert run(["dedup", one, "-o", first, "--workers", "1", *field]) == 0
    assert run(["dedup", two, "-o", str(tmp_path / "second"), "--against", first, "--workers", "1"]) == 0
    capsys.readouterr()
    arguments = ["explain", str(tmp_path / "second"), "--shard", "in.jsonl", "--row", "0"]

    def shown(*more: str) -> str:
        assert run([*arguments, *more]) == 0
        return capsys.readouterr().out

    expected = "in.jsonl:0 was removed as a duplicate of first:in.jsonl:0: similarity 0.9502"
    assert expected in shown()
    assert "{+word100+}" in shown()
    # Both shards are called in.jsonl: each is taken from the directory that is its own, in any order.
    assert "{+word100+}" in shown("--corpus", two, "--corpus", first)
    assert "{+word100+}" in shown("--corpus", first, "--corpus", two)
    assert run([*arguments[:3], "first:in.jsonl", "--row", "0"]) == 0
    assert "these name it" in capsys.readouterr().out

    (tmp_path / "first" / "in.jsonl").unlink()
    printed = shown()
    assert expected in printed
    assert "The text of first:in.jsonl:0 is gone." in printed
    assert "other" in printed
    found = json.loads(shown("--json"))
    assert (found["jaccard"], found["similarity"], found["duplicate_of_text"]) == (191 / 201, None, None)
    assert found["text"] == changed


def test_shards_of_one_name_and_size_are_told_apart_by_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = " ".join([*WORDS[:100], "wordXXX", *WORDS[101:]])
    for name, text in (("one", " ".join(WORDS)), ("two", changed)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "in.jsonl").write_text(json.dumps({"text": text}) + "\n")
    one, two, first = tmp_path / "one", tmp_path / "two", tmp_path / "first"
    assert run(["dedup", str(one), "-o", str(first), "--save-signatures", "--workers", "1"]) == 0
    out = tmp_path / "second"
    assert run(["dedup", str(two), "-o", str(out), "--against", str(first), "--workers", "1"]) == 0
    moved = [first.rename(tmp_path / "x"), two.rename(tmp_path / "y")]
    capsys.readouterr()
    for given in (moved, moved[::-1]):
        corpus = [argument for path in given for argument in ("--corpus", str(path))]
        assert run(["explain", str(out), "--shard", "in.jsonl", "--row", "0", *corpus]) == 0
        assert "{+word100+}" in capsys.readouterr().out


def test_marks_stand_inside_of_what_is_written_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 4
    texts = [text, f"{text[:50]}新{text[51:]}"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    arguments = [str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--threshold", "0.5"]
    assert run(["dedup", *arguments, "--workers", "1"]) == 0
    capsys.readouterr()
    assert run(["explain", str(tmp_path / "out"), "--shard", "in.jsonl", "--row", "1"]) == 0
    marked = [line for line in capsys.readouterr().out.splitlines() if "{+" in line or "[-" in line]
    assert [[part.strip() for part in line.split(" │ ")] for line in marked] == [
        ["[-新-]", f"{{+{text[50]}+}}"]
    ]
