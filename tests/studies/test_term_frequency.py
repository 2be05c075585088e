"""Accuracy by how often operands were read."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.studies.arithmetic import Answer, make_problems
from pile_tools.studies.term_frequency import Frequencies, answers_table, plot_frequency, summarise


def test_the_gap_is_that_of_the_tenths_by_count(tmp_path: Path) -> None:
    problems = make_problems("addition", shots=0, x2=[1, 2])
    # The twenty operands that end in 7 or 8 were read most often; answers are right for those that end in 7.
    counts = {n: 1000 + n if n % 10 == 7 else n for n in range(100)}
    table = {
        "checkpoint": [step for step in (50, 100) for _ in range(100)],
        "term": [str(n) for n in range(100)] * 2,
        "count": [counts[n] * step for step in (50, 100) for n in range(100)],
    }
    pq.write_table(pa.table(table), tmp_path / "counts.parquet")
    frequencies = Frequencies(tmp_path / "counts.parquet")
    answers = [Answer(p, f" {p.answer}" if p.x1 % 10 == 7 and p.x2 == 1 else " no") for p in problems]
    result = summarise("run/step100", 100, answers, frequencies)
    assert (result.accuracy, result.most, result.least, result.gap) == (0.05, 0.5, 0.0, 0.5)
    assert result.operands[7] == (7, 100_700, 0.5)
    plot_frequency([result], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert answers_table("m", 100, answers).column("is_right").to_pylist().count(True) == 10
    assert summarise("m", None, answers, None).gap is None
    with pytest.raises(ParameterError, match=r"no checkpoint 70 \(it has 50, 100, …\)"):
        summarise("m", 70, answers, frequencies)
    with pytest.raises(ParameterError, match="does not say how many steps"):
        summarise("m", None, answers, frequencies)
    pq.write_table(pa.table({"term": ["1"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="column 'checkpoint' is missing"):
        Frequencies(tmp_path / "other.parquet")
    with pytest.raises(PileToolsError, match="no such file"):
        Frequencies(tmp_path / "none.parquet")
