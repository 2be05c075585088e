"""Progress bars of functions in Python: drawn on standard error, left out, or reported to a function."""

from pathlib import Path

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.jobs.bars import reporting

TREE = Path(__file__).parents[1] / "golden/0.1.0"


def test_progress_is_true_false_or_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    viewer = BatchViewer.open(TREE / "tokens")
    viewer.repeats(progress=True)
    shown = capsys.readouterr()
    assert (shown.out, "%|" in shown.err) == ("", True)
    viewer.repeats()
    assert capsys.readouterr().err == ""
    calls: list[str] = []
    viewer.mixture(progress=lambda label, done, total: calls.append(label))
    assert calls
    with pytest.raises(ParameterError, match="progress 'yes' is not True, False or a function"):
        viewer.repeats(progress="yes")  # type: ignore[arg-type]
    with reporting(False) as progress:
        progress("nothing", 1, 2)
    assert capsys.readouterr().err == ""


def test_each_label_has_a_bar_and_all_are_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(True) as progress:
        progress("reading", 1, 4)
        progress("writing", 2, 4)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [label in shown.err for label in ("reading", "writing")] == [True, True]
    assert shown.err.endswith("\r")  # a closed bar leaves an empty line


def test_a_function_is_called_as_it_is() -> None:
    calls: list[tuple[str, int, int]] = []

    def note(label: str, done: int, total: int) -> None:
        calls.append((label, done, total))

    with reporting(note) as progress:
        assert progress is note
        progress("reading", 1, 4)
    assert calls == [("reading", 1, 4)]
