"""The commands memorize and memorize-report."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run

from tests.cli.conftest import told


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
