"""`pile-tools verify` as it is typed."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run


@pytest.fixture
def tokens(tmp_path: Path, demo_corpus: Path) -> Path:
    (tmp_path / "in.jsonl").write_text('{"text": "one two"}\n{"text": "three"}\n')
    out = tmp_path / "tokens"
    assert run(["tokenize", str(tmp_path / "in.jsonl"), "-o", str(out), "--tokenizer", str(demo_corpus)]) == 0
    return out


def test_what_is_right(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["verify", str(tokens)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in printed] == ["files", "tokens", "provenance", "tokenizer"]
    assert run(["verify", str(tokens), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["verified"]
    assert [(item["path"], item["check"]) for item in found][:2] == [
        (str(tokens), "files"),
        (str(tokens), "tokens"),
    ]


def test_damage_ends_with_3(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    path = tokens / "document.bin"
    path.write_bytes(path.read_bytes()[:-2] + b"\1\0")
    assert run(["verify", str(tokens)]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(path) in printed.err
    assert len(printed.err.splitlines()) == 1
    assert run(["verify", str(tokens / "none")]) == 1
