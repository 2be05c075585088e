"""The command intervene."""

from pathlib import Path

import pytest
from pile_tools_cli.main import run

from tests.cli.conftest import told


def test_intervene(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = place / "tokens", tmp_path / "o"
    said = told(capsys, "intervene", "--data", data, "--from-step", "2", "--drop", "3,4", "-o", out)
    assert (said["from_step"], said["existed"]) == (2, False)
    assert int(str(said["samples"])) > 0
    assert told(capsys, "intervene", "--data", data, "--from-step", "2", "--drop", "3,4", "-o", out)[
        "existed"
    ]
    assert run(["batch", "--data", str(out), "--step", "3", "--format", "tokens"]) == 0
    capsys.readouterr()
    for arguments, code, message in (
        (["--drop", "3"], 2, "--from-step"),
        (["--from-step", "0", "--move", "3"], 2, "is not of the form DOCUMENTS"),
        (["--from-step", "0", "--move", "3=x"], 2, "'x' is no step"),
        (["--from-step", "0", "--drop", "900"], 1, "no document 900"),
        (["--from-step", "9000", "--drop", "3"], 1, "which has steps 0:"),
        (["--from-step", "0", "--swap", "pronouns"], 2, "no tokenizer beside the dataset"),
    ):
        assert run(["intervene", "--data", str(data), "-o", str(tmp_path / "p"), *arguments]) == code
        assert message in capsys.readouterr().err
