"""The command loss."""

from pathlib import Path

import pytest

from tests.cli.conftest import told


def test_loss(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "loss", place / "step4", "--data", place / "tokens", "--steps", "3:6")
    assert [(group["seen"], group["sequences"]) for group in said["totals"]] == [(True, 4), (False, 8)]  # type: ignore[attr-defined]
    assert said["checkpoint_steps"] == 4
