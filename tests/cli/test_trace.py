"""`pile-tools trace` as it is typed."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run


def test_table(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "--data", str(made / "tokens"), "--step", "2", "--row", "1"]) == 0
    header, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert header[:7] == ["position", "tokens", "document", "offset", "source", "row", "shard"]
    assert header[7:] == ["original", "row", "original", "shard"]
    assert sum(int(row[1]) for row in rows) == 51
    for row in rows:
        document = int(row[2])
        assert row[4:] == ["A", row[2], "in.jsonl", str(document + (document >= 5)), "in.jsonl"]


def test_text_and_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["trace", "--data", str(made / "tokens"), "--step", "2", "--row", "1", "--text"]
    assert run([*arguments, "--context", "10"]) == 0
    printed = capsys.readouterr().out
    assert run([*arguments, "--context", "10", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["step"], value["row"]) == (2, 1)
    for piece in value["pieces"]:
        number = piece["original_row"]
        assert piece["addresses"][-1]["shard_row"] == number
        span = piece["span"]
        assert f"{span['before']}⟦{span['text']}⟧{span['after']}\n" in printed
        text = f"the words of number {number} are not those of any other"
        assert span["before"] + span["text"] + span["after"] in text
        assert f"--- document {piece['document']} from its token {piece['offset']}, in.jsonl:" in printed


def test_fetched_steps_are_traced_as_far(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = str(tmp_path / "steps")
    assert run(["fetch", "--data", str(made / "tokens"), "--steps", "2:4", "-o", steps]) == 0
    printed = []
    for data in (str(made / "tokens"), steps):
        capsys.readouterr()
        assert run(["trace", "--data", data, "--step", "2", "--row", "1", "--json"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert len(json.loads(printed[1])["pieces"][0]["addresses"]) == 2
    assert run(["lineage", steps]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        "order",
        "fetch",
        "tokenize",
        "dedup",
    ]
    assert run(["verify", steps]) == 0
    assert "origins" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trace", "--step", "4", "--row", "0"], 1, "no step 4"),
        (["trace", "--step", "0", "--row", "2"], 1, "no row 2"),
        (["trace", "--step", "0"], 2, "--row"),
        (["trace", "--step", "0", "--row", "0", "--text", "--context", "-1"], 2, "--context"),
        (["trace", "--step", "0", "--row", "0", "--text", "--corpus", "none.jsonl"], 1, "none.jsonl"),
        (["lineage", "none"], 1, "none: no such directory"),
    ],
)
def test_an_error_is_one_line(
    made: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(made / "tokens")] if arguments[0] == "trace" else []
    assert run([*arguments, *data]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
