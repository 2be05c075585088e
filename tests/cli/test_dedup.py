"""`pile-tools dedup` as it is typed: what it prints, what it ends with."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run

LINE = '{{"text": "{}", "meta": {{"pile_set_name": "{}"}}}}\n'


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [("one two three four five six", "A"), ("One, two, three four five six!", "B"), ("other", "A")]
    (tmp_path / "in.jsonl").write_text("".join(LINE.format(*line) for line in lines))
    return tmp_path / "in.jsonl"


def test_summary_by_source(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "out"), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0][:4] == ["source", "documents", "removed", "kept"]
    assert lines[1][:4] == ["A", "2", "0", "2"]
    assert lines[2][:4] == ["B", "1", "1", "0"]
    assert lines[3][:4] == ["all", "3", "1", "2"]
    assert "threshold 0.87, 16 bands of 8 rows, verify exact" in printed.out
    assert "components by size: 2: 1" in printed.out
    assert "removed by similarity: 1.00: 1" in printed.out


def test_json_is_one_object(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["dedup", str(corpus), "-o", str(tmp_path / "out"), "--workers", "1", "--json"]
    assert run(arguments) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["documents"], first["removed"], first["kept"]) == (3, 1, 2)
    assert first["sources"]["B"] == {
        "documents": 1,
        "removed": 1,
        "kept": 0,
        "bytes": 30,
        "removed_bytes": 30,
        "kept_bytes": 0,
    }
    # Asked again, a finished directory answers the same.
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == first


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--threshold", "2"], 2, "threshold"),
        (["--memory", "lots"], 2, "lots"),
        (["--verify", "maybe"], 2, "maybe"),
        (["--memory", "1M"], 2, "at least"),
        (["missing.jsonl"], 1, "missing.jsonl"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    code: int,
    message: str,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "out"), *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_output_that_holds_something_else(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "out")]) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "new"), "--workers", "1"]) == 0
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "new"), "--threshold", "0.5"]) == 1
    assert "threshold" in capsys.readouterr().err


def test_plot(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["dedup", str(corpus), "-o", str(tmp_path / "out"), "--workers", "1", "--plot"]
    assert run([*arguments, str(tmp_path / "picture.doc")]) == 2
    assert run([*arguments, str(tmp_path / "no" / "picture.png")]) == 2
    assert not (tmp_path / "out").exists()
    assert run([*arguments, str(tmp_path / "picture.png")]) == 0
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_against_and_presets_on_the_command_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert run(["dedup", str(corpus), "-o", first, "--save-signatures", "--workers", "1"]) == 0
    assert run(["dedup", str(corpus), "-o", second, "--against", first, "--json", "--workers", "1"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["kept"] == 0
    for name, options in (
        ("a", ["--preset", "datasketch"]),
        ("b", ["--exact"]),
        ("c", ["--keep", "longest"]),
    ):
        assert run(["dedup", str(corpus), "-o", str(tmp_path / name), *options, "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "7 bands of 18 rows, verify none" in printed
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "d"), "--exact", "--verify", "none"]) == 2
