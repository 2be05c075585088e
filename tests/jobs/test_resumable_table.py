"""A Parquet file made in parts: the same whatever interrupted it, and never another job's."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError, PileToolsError
from pile_tools.jobs.progress import no_progress
from pile_tools.jobs.resumable_table import Part, make_table, read_description, step_parts, write_table


def square(part: Part, log: Path, stop_at: int | None) -> None:
    if part.start == stop_at:
        raise KeyboardInterrupt
    with log.open("a") as file:
        print(part.start, file=file)
    steps = range(part.start, part.stop)
    write_table(pa.table({"step": list(steps), "square": [step * step for step in steps]}), part.path)


def make(output: Path, *, stop_at: int | None = None, **parameters: Any) -> bool:
    return make_table(
        output,
        study="squares",
        parameters={"of": "steps"} | parameters,
        parts=list(step_parts(3, 17, 5)),
        function=square,
        arguments=(output.with_name("log"), stop_at),
        workers=1,
        progress=no_progress,
    )


def test_an_interrupted_table_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert make(tmp_path / "a" / "table.parquet")
    table = pq.read_table(tmp_path / "a" / "table.parquet")
    assert table.to_pydict() == {
        "step": list(range(3, 17)),
        "square": [step * step for step in range(3, 17)],
    }
    (tmp_path / "b").mkdir()
    output = tmp_path / "b" / "table.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(output, stop_at=10)
    assert not output.exists()
    assert make(output)
    assert output.read_bytes() == (tmp_path / "a" / "table.parquet").read_bytes()
    assert (tmp_path / "b" / "log").read_text().split() == ["3", "5", "10", "15"]
    assert sorted(path.name for path in output.parent.iterdir()) == ["log", "table.parquet"]


def test_the_same_again_is_left_and_another_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "table.parquet"
    assert make(output)
    before = output.read_bytes()
    assert not make(output)
    with pytest.raises(PileToolsError, match="of another job"):
        make(output, more=1)
    assert output.read_bytes() == before
    assert read_description(output)["parameters"] == {"of": "steps"}


def test_files_that_are_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such file"):
        read_description(tmp_path / "none.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("text")
    for name in ("other.parquet", "text.parquet"):
        with pytest.raises(DataError, match="not a table of a study of pile-tools"):
            read_description(tmp_path / name)
        with pytest.raises(PileToolsError, match=name.replace(".", r"\.")):
            make(tmp_path / name)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 9))
def test_parts_are_cut_at_multiples(start: int, length: int, steps: int) -> None:
    parts = list(step_parts(start, start + length, steps))
    assert [step for begin, end in parts for step in range(begin, end)] == list(range(start, start + length))
    assert all(begin % steps == 0 for begin, _ in parts[1:])
    assert all(0 < end - begin <= steps for begin, end in parts)
