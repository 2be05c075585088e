"""The command lineage."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run


def test_lineage(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lineage", str(made / "tokens")]) == 0
    printed = capsys.readouterr().out
    stages = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert stages == ["order", "tokenize", "dedup"]
    assert '          threshold = "0.87"' in printed
    assert "from in.jsonl: " in printed
    assert run(["lineage", str(made / "tokens"), "--json"]) == 0
    chain = json.loads(capsys.readouterr().out)["chain"]
    assert [link["stage"] for link in chain] == stages
    assert chain[1]["parents"] == [chain[2]["identity"]]
