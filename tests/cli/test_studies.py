import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run

from tests.studies.small import make_own, make_stream


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("studies")
    make_stream(root / "tokens")
    make_own(root / "step4")
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, object]:
    assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


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


def test_memorize_and_its_report(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "mem.parquet"
    arguments = ["memorize", place / "step4", "--data", place / "tokens", "--steps", "0:6"]
    said = told(capsys, *arguments, "--k", "4", "--l", "4", "-o", table)
    assert (said["sequences"], said["existed"]) == (24, False)
    assert pq.read_metadata(table).num_rows == 24
    report = told(
        capsys, "memorize-report", table, "--every", "2", "--threshold", "0.2", "--data", place / "tokens"
    )
    assert [interval["sequences"] for interval in report["intervals"]] == [8, 8, 8]  # type: ignore[attr-defined]
    assert sum(group["sequences"] for group in report["by_times_seen"]) == 24  # type: ignore[attr-defined]
    for changed, code, message in (
        (["--steps", "0-6"], 2, "are not of the form START:STOP"),
        (["--steps", "0:9000"], 1, "there are 0:"),
        (["--steps", "0:2", "--k", "40", "--l", "40"], 2, "k + l is 80"),
        (["--steps", "0:2", "--k", "4", "--l", "4", "--revision", "step3"], 2, "a directory has no revision"),
    ):
        assert run([*map(str, arguments[:4]), *changed, "-o", str(tmp_path / "x.parquet")]) == code
        assert message in capsys.readouterr().err
    assert run(["memorize-report", str(table), "--every", "100"]) == 2
    assert "a fit needs two" in capsys.readouterr().err


def test_loss(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "loss", place / "step4", "--data", place / "tokens", "--steps", "3:6")
    assert [(group["seen"], group["sequences"]) for group in said["totals"]] == [(True, 4), (False, 8)]  # type: ignore[attr-defined]
    assert said["checkpoint_steps"] == 4
