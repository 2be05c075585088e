"""Pictures of answers: each is drawn, and shows no more lines than a reader can tell apart."""

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pile_tools.lookups import plots
from pile_tools.lookups.plots import MOST_LINES, plot_counts, plot_mixture, plot_repeats
from pile_tools.render.figures import figure
from tests.lookups.conftest import MakeStream

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(40)]


def test_answers_of_a_stream_are_drawn(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=22, provenance=True)
    plot_repeats(viewer.repeats(every=4), tmp_path / "repeats.png")
    plot_mixture(viewer.mixture(every=4), tmp_path / "mixture.png")
    for name in ("repeats.png", "mixture.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the legend of what is drawn."""
    shown: list[str] = []

    @contextmanager
    def looked_at(*arguments: Any, **options: Any) -> Any:
        with figure(*arguments, **options) as axes:
            yield axes
            shown.extend(axes.get_legend_handles_labels()[1])

    monkeypatch.setattr(plots, "figure", looked_at)
    return shown


def counts(names: list[str], other: bool) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "checkpoint": [mark for mark in (5, 10) for _ in names],
        "term": names * 2,
        "count": [mark * number for mark in (5, 10) for number in range(len(names))],
    }
    if other:
        columns["other"] = [None] * len(names) * 2
        for column, value in zip(columns, (10, "pair", 10**6, "x"), strict=True):
            columns[column].append(value)
    return pa.table(columns)


@pytest.mark.parametrize("other", [False, True])
def test_the_most_frequent_are_shown_and_no_pair(labels: list[str], other: bool, tmp_path: Path) -> None:
    names = [f"term{number:02}" for number in range(14)]
    plot_counts(counts(names, other), tmp_path / "x.png", "term")
    assert labels == names[::-1][:MOST_LINES]


def test_other_sources_are_summed(labels: list[str], tmp_path: Path) -> None:
    names = [None, *(f"source{number:02}" for number in range(12))]
    columns = {
        "start": [start for start in (0, 5) for _ in names],
        "checkpoint": [stop for stop in (5, 10) for _ in names],
        "source": names * 2,
        "share": [1 / 13] * 26,
    }
    plot_mixture(pa.table(columns), tmp_path / "x.png")
    assert labels == ["no source", *names[1:MOST_LINES], "4 more"]
