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


@pytest.mark.parametrize(
    ("shard", "row", "code"),
    [("in.jsonl", "1", 1), ("in.jsonl", "99", 1), ("in.jsonl", "-1", 1), ("no", "0", 2)],
)
def test_what_there_is_not(shard: str, row: str, code: int, output: Path) -> None:
    assert run(["explain", str(output), "--shard", shard, "--row", row]) == code
