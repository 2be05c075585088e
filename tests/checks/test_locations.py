"""Verification of directories and streams: the checks that apply, and what no stream proves."""

import shutil
from pathlib import Path

import pytest

from pile_tools.checks.locations import verify_locations
from pile_tools.errors import DataError, ParameterError
from pile_tools.stages.order.order import make_order
from tests.token_data import GOLDEN

TREE = GOLDEN / "0.1.0"


@pytest.fixture
def tokens(tmp_path: Path) -> str:
    return str(shutil.copytree(TREE / "tokens", tmp_path / "tokens"))


def test_each_directory_has_the_checks_that_apply(tokens: str) -> None:
    reports, unproved = verify_locations([str(TREE / "kept"), tokens])
    checks = {path: [r.check for r in reports if r.path == path] for path in (str(TREE / "kept"), tokens)}
    assert "dedup" in checks[str(TREE / "kept")]
    assert {"tokens", "orders", "digests"} <= set(checks[tokens])
    assert "digests" not in checks[str(TREE / "kept")]
    assert sum(map(len, checks.values())) == len(reports)
    assert unproved == []


def test_with_steps_only_digests_are_compared(tokens: str) -> None:
    reports, _ = verify_locations([tokens], steps=(3, 5))
    assert [(report.path, report.check) for report in reports] == [(tokens, "digests")]
    moved = Path(tokens).parent / "digests"
    moved.mkdir()
    for name in ("digests.json", "digests.npy"):
        (Path(tokens) / name).rename(moved / name)
    with pytest.raises(DataError):
        verify_locations([tokens], steps=(3, 5))
    assert verify_locations([tokens], digests=moved, steps=(3, 5)) == (reports, [])


def test_digests_are_of_one_stream(tokens: str, tmp_path: Path) -> None:
    for locations in ([], [tokens, tokens]):
        with pytest.raises(ParameterError, match=f"of one stream, but {len(locations)} are named"):
            verify_locations(locations, digests=tmp_path)


def test_a_changed_token_is_found_by_either_check(tokens: str) -> None:
    data = Path(tokens) / "document.bin"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"document\.bin"):
        verify_locations([tokens])
    with pytest.raises(DataError, match="step"):
        verify_locations([tokens], steps=(None, None))


def test_what_a_checkpoint_has_read_is_proved_by_its_stream(tmp_path: Path) -> None:
    checkpoint = str(TREE / "run/step4")

    def message(*streams: str, order: str | None = None) -> tuple[str, list[str]]:
        reports, unproved = verify_locations([checkpoint], streams=streams, order=order)
        return next(report.message for report in reports if report.check == "checkpoint"), unproved

    assert message() == ("has read 4 steps, not compared with a stream; give it with --data", [])
    assert message(str(TREE / "tokens")) == ("has read 4 steps, each as the stream has it", [])
    other = tmp_path / "other"
    make_order(TREE / "tokens", seq_length=64, batch_size=8, steps=40, seed=5, output=other)
    with pytest.raises(DataError, match=r"its steps 0:4 are not of this stream: step 0 of .* has other"):
        message(str(TREE / "tokens"), order=str(other))
