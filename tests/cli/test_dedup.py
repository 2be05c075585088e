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


def test_histograms_are_in_numeric_order_on_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = []
    for size in (20, 3, 2, 6):
        text = " ".join(f"s{size}w{i}" for i in range(200))
        lines += [text] * (size - 1) + [text + " more"]
    (tmp_path / "in.jsonl").write_text("".join(LINE.format(line, "A") for line in lines))
    arguments = ["dedup", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--workers", "1"]
    assert run([*arguments, "--json"]) == 0
    first = capsys.readouterr().out
    assert list(json.loads(first)["components"]) == ["2", "3", "5-8", "17-32"]
    assert list(json.loads(first)["similarities"]) == ["0.99", "1.00"]
    assert run([*arguments, "--json"]) == 0
    assert capsys.readouterr().out == first
    assert run(arguments) == 0
    assert "components by size: 2: 1, 3: 1, 5-8: 1, 17-32: 1" in capsys.readouterr().out


def test_a_source_without_a_name_is_not_no_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = LINE.format("one two three", "") + '{"text": "four five"}\n{"text": "six seven"}\n'
    (tmp_path / "in.jsonl").write_text(lines)
    arguments = ["dedup", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--workers", "1"]
    assert run(arguments) == 0
    printed = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert printed[1:4] == [['""', "1"], ["(none)", "2"], ["all", "3"]]
    assert run([*arguments, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["sources"][""]["documents"] == 1
    assert counts["without_source"]["documents"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--threshold", "2"], 2, "threshold"),
        (["--memory", "lots"], 2, "lots"),
        (["--verify", "maybe"], 2, "maybe"),
        (["--memory", "1M"], 2, "at least"),
        (["missing.jsonl"], 1, "missing.jsonl"),
        (["--threshold", "0"], 2, "threshold"),
        (["--threshold", "nan"], 2, "threshold"),
        (["--num-perm", "0"], 2, "num_perm"),
        (["--num-perm", "99999999999"], 2, "num_perm"),
        (["--seed", "-1"], 2, "seed"),
        (["--seed", "4294967296"], 2, "seed"),
        (["--exact", "--threshold", "0.87"], 2, "--threshold"),
        (["--exact", "--ngram", "5"], 2, "--ngram"),
        (["--exact", "--num-perm", "128"], 2, "--num-perm"),
        (["--exact", "--seed", "1"], 2, "--seed"),
        (["--exact", "--save-signatures"], 2, "--save-signatures"),
        (["--exact", "--preset", "datasketch"], 2, "--preset"),
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
