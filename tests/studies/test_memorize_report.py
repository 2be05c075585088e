"""Reports on a table whose memorized sequences are known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, ParameterError
from pile_tools.jobs.resumable_table import METADATA_KEY
from pile_tools.storage.manifest import canonical_json
from pile_tools.studies.memorize_report import memorize_report, plot_report, report_to_json
from pile_tools.viewer import BatchViewer
from tests.studies.small import make_stream

STEPS, ROWS = 10, 4


@pytest.fixture
def stream(tmp_path: Path) -> BatchViewer:
    return BatchViewer.open(make_stream(tmp_path / "tokens"))


def write_report_table(stream: BatchViewer, path: Path) -> list[dict[str, object]]:
    """Steps 2 to 11 of the stream; every third sequence is memorized, those of step 7 half."""
    rows = []
    for step in range(2, 2 + STEPS):
        for row in range(ROWS):
            share = 0.5 if step == 7 else float((step * ROWS + row) % 3 == 0)
            piece = stream.trace(step, row).to_pylist()[0]
            origin = {name: piece[name] for name in ("document", "offset", "n_tokens")}
            source = [None, "books", "web"][piece["document"] % 3]
            rows.append({"step": step, "row": row, "share": share, **origin, "source": source})
    parameters: dict[str, object] = {"start": 2, "stop": 12, "stream": stream.identity, "batch_size": ROWS}
    parameters |= {"checkpoint_steps": 6, "lineage": None, "digest": None}
    described = {"format": "pile-tools study 1", "study": "memorize", "parameters": parameters}
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: canonical_json(described)}), path)
    return rows


def middle(row: dict[str, object]) -> tuple[int, int]:
    document, offset, n_tokens = (int(str(row[name])) for name in ("document", "offset", "n_tokens"))
    return document, offset + (n_tokens - 1) // 2


def test_counts_by_interval_source_and_times_seen(stream: BatchViewer, tmp_path: Path) -> None:
    rows = write_report_table(stream, tmp_path / "mem.parquet")
    report = memorize_report(tmp_path / "mem.parquet", every=4, viewer=stream)
    memorized = [row for row in rows if row["share"] == 1]
    assert (report.sequences, report.memorized) == (40, len(memorized))
    spans = [(interval.start, interval.stop, interval.whole) for interval in report.intervals]
    assert spans == [(2, 4, False), (4, 8, True), (8, 12, True)]
    for interval in report.intervals:
        here = [row for row in memorized if interval.start <= int(str(row["step"])) < interval.stop]
        assert interval.memorized == len(here)
    counts = [interval.memorized for interval in report.intervals if interval.whole]
    assert report.fit.rate == np.mean(counts)
    assert report.fit.observed.tolist() == sorted(counts)
    for group in report.by_source:
        name = None if group.name == "not known" else group.name
        assert group.sequences == sum(row["source"] == name for row in rows)
        assert group.memorized == sum(row["source"] == name for row in memorized)
    assert sum(group.sequences for group in report.by_source) == 40
    # By reading: the steps before step 6, the checkpoint's, that have the middle of a sequence as an input.
    shown: dict[tuple[int, int], set[int]] = {}
    for step in range(6):
        for row in range(ROWS):
            for piece in stream.trace(step, row).to_pylist():
                for token in range(min(piece["n_tokens"], stream.seq_length - piece["position"])):
                    shown.setdefault((piece["document"], piece["offset"] + token), set()).add(step)
    assert report.by_times_seen is not None
    for group in report.by_times_seen:
        seen = [row for row in rows if len(shown.get(middle(row), ())) == int(group.name)]
        assert group.sequences == len(seen)
        assert group.memorized == sum(row["share"] == 1 for row in seen)
    assert sum(group.sequences for group in report.by_times_seen) == 40
    assert memorize_report(tmp_path / "mem.parquet", every=4, threshold=0.5).memorized > report.memorized
    plot_report(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert report_to_json(report)["fit"]["observed"] == sorted(counts)


def test_bad_input_is_named(stream: BatchViewer, tmp_path: Path) -> None:
    path = tmp_path / "mem.parquet"
    write_report_table(stream, path)
    for settings, message in (({"every": 0}, "--every 0"), ({"threshold": 0.0}, "threshold 0"), ({}, "fit")):
        with pytest.raises(ParameterError, match=message):
            memorize_report(path, **settings)
    other = BatchViewer.open(make_stream(tmp_path / "other", documents=31))
    with pytest.raises(DataError, match="measured on another stream"):
        memorize_report(path, every=4, viewer=other)
    table = pq.read_table(path).drop_columns(["offset", "n_tokens"])
    pq.write_table(table, tmp_path / "whole.parquet")
    with pytest.raises(DataError, match="does not say which part of a document was measured"):
        memorize_report(tmp_path / "whole.parquet", every=4, viewer=stream)
    pq.write_table(pa.table({"share": [1.0]}), tmp_path / "plain.parquet")
    with pytest.raises(DataError, match="not a table of a study"):
        memorize_report(tmp_path / "plain.parquet")
