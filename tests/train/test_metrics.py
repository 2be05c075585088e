"""Lines of metrics: appended whole, cut where a kill cut them, refused where they are something else."""

from pathlib import Path

import pytest

from pile_tools.errors import DataError, PileToolsError
from pile_tools.train.metrics import METRICS_NAME, MetricsFile, plot_loss, read_metrics


def write(run: Path, first_step: int, steps: range) -> None:
    file = MetricsFile(run, first_step)
    for step in steps:
        file.write({"step": step, "loss": 1.0 / (step + 1), "lr": 0.1})
    file.close()


def test_a_resumed_run_goes_on_after_its_first_step(tmp_path: Path) -> None:
    write(tmp_path, 0, range(6))
    write(tmp_path, 4, range(4, 5))
    lines = read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[3] == {"step": 3, "loss": 0.25, "lr": 0.1}


def test_a_line_that_was_cut_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, 0, range(3))
    path = tmp_path / METRICS_NAME
    content = path.read_bytes()
    for cut in range(1, 12):
        path.write_bytes(content[:-cut])
        assert [line["step"] for line in read_metrics(tmp_path)] == [0, 1]
    write(tmp_path, 2, range(2, 3))
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"loss": 1}', b'{"step": "1"}', b""])
def test_other_lines_are_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / METRICS_NAME).write_bytes(b'{"step": 0}\n' + line + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: not a line of metrics"):
        read_metrics(tmp_path)


def test_a_run_without_steps(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="name the directory of a run"):
        read_metrics(tmp_path)
    write(tmp_path, 0, range(0))
    assert read_metrics(tmp_path) == []
    with pytest.raises(PileToolsError, match="nothing to plot"):
        plot_loss(tmp_path, tmp_path / "loss.png")


def test_the_loss_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, 0, range(9))
    plot_loss(tmp_path, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
