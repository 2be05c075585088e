"""Exports, read by other tools than ours."""

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.stages import export
from pile_tools.stages.export import export_steps
from tests.lookups.conftest import FORMS, MakeStream

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(40)]


def expected(viewer: BatchViewer, start: int, stop: int) -> list[dict[str, Any]]:
    rows = []
    for step in range(start, stop):
        for row in range(viewer.batch_size):
            pieces = viewer.trace(step, row).to_pylist()
            known = pieces[0]["document"] is not None
            value: dict[str, Any] = {
                "step": step,
                "row": row,
                "tokens": viewer.sequence(step, row).tolist(),
                "text": viewer.text(step, row),
            }
            if "dataset" in pieces[0]:
                value["datasets"] = [piece["dataset"] for piece in pieces]
            value["documents"] = [piece["document"] for piece in pieces] if known else None
            value["sources"] = [piece["source"] for piece in pieces] if known else None
            rows.append(value)
    return rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("each", [1, 1 << 22])
def test_rows_of_every_form_of_a_stream(
    form: str, each: int, make_stream: MakeStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_ROW_GROUP_TOKENS", each)
    viewer = make_stream(DOCUMENTS, num_samples=40, form=form, provenance=True)
    stop = min(9, viewer.steps)
    wanted = expected(viewer, 2, stop)
    done = export_steps(viewer, tmp_path / "out.parquet", (2, stop), text=True)
    assert (done.steps, done.sequences) == ((2, stop), (stop - 2) * 2)
    table = pq.read_table(done.path)
    assert table.to_pylist() == wanted
    assert str(table.schema.field("tokens").type) in ("list<element: uint16>", "list<item: uint16>")
    export_steps(viewer, tmp_path / "out.jsonl", (2, stop), form="jsonl", text=True)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == wanted
    export_steps(viewer, tmp_path / "out.npy", (2, stop), form="npy")
    array = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert array.dtype == viewer.dtype
    np.testing.assert_array_equal(array, np.stack(list(viewer.batches(2, stop))))


def test_without_provenance_or_text(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS, tokenizer=False, dtype="<i4")
    export_steps(viewer, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["step", "row", "tokens", "documents", "sources"]
    assert table.num_rows == viewer.steps * viewer.batch_size
    assert table.column("sources").null_count == table.num_rows
    assert table.column("documents").null_count == 0
    with pytest.raises(ParameterError, match="give one with --tokenizer"):
        export_steps(viewer, tmp_path / "text.parquet", text=True)
    assert not (tmp_path / "text.parquet").exists()


def test_parquet_opens_elsewhere(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40, provenance=True)
    path = tmp_path / "out.parquet"
    export_steps(viewer, path, (0, 10), text=True)
    wanted = expected(viewer, 0, 10)
    frame = polars.read_parquet(path)
    assert frame.to_dicts() == wanted
    with duckdb.connect() as connection:
        found = connection.sql(
            f"select step, count(*), sum(len(documents)), list_sum(list(list_sum(tokens))) from '{path}' "
            "where list_contains(sources, 'Web') group by step order by step"
        ).fetchall()
    kept = [row for row in wanted if "Web" in row["sources"]]
    assert found == [
        (
            step,
            len(rows),
            sum(len(row["documents"]) for row in rows),
            sum(sum(row["tokens"]) for row in rows),
        )
        for step in sorted({row["step"] for row in kept})
        if (rows := [row for row in kept if row["step"] == step])
    ]
    # In a process of its own: the library changes what others load.
    script = (
        "import json, sys\nfrom datasets import Dataset\n"
        "print(json.dumps(Dataset.from_parquet(sys.argv[1], cache_dir=sys.argv[2]).to_list()))"
    )
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path), str(tmp_path / "cache")],
        capture_output=True,
        check=True,
        text=True,
        env={"HF_HUB_OFFLINE": "1", "PATH": "", "HOME": str(tmp_path)},
    ).stdout
    assert json.loads(output.splitlines()[-1]) == wanted


def test_the_pre_shuffled_form(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    export_steps(viewer, tmp_path / "all", form="mmidx")
    # As GPT-NeoX reads it: sizes and pointers of the index, tokens of the data, and no maps.
    content = (tmp_path / "all/document.idx").read_bytes()
    magic, version, code, count, boundaries = struct.unpack_from("<9sQBQQ", content)
    assert (magic, version, code, count, boundaries) == (b"MMIDIDX\0\0", 1, 8, 40, 41)
    sizes = np.frombuffer(content, "<i4", count, 34)
    pointers = np.frombuffer(content, "<i8", count, 34 + 4 * count)
    data = (tmp_path / "all/document.bin").read_bytes()
    for sample in range(count):
        tokens = np.frombuffer(data, "<u2", sizes[sample], pointers[sample])
        np.testing.assert_array_equal(tokens, viewer.sequence(sample // 2, sample % 2))
    part = export_steps(viewer, tmp_path / "part", (7, 9), form="mmidx")
    assert part.sequences == 4
    kept = BatchViewer.open(tmp_path / "part")
    assert (kept.first_step, kept.steps) == (7, 9)
    np.testing.assert_array_equal(kept.batch(8), viewer.batch(8))
    again = BatchViewer.open(tmp_path / "all")
    assert [again.step_digest(step) for step in range(20)] == [viewer.step_digest(step) for step in range(20)]


def test_exports_that_cannot_be(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS)
    with pytest.raises(ParameterError, match="format 'csv' is none of parquet, jsonl, npy, mmidx"):
        export_steps(viewer, tmp_path / "out", form="csv")
    for form in ("npy", "mmidx"):
        with pytest.raises(ParameterError, match=f"format {form} has no text"):
            export_steps(viewer, tmp_path / "out", form=form, text=True)
    with pytest.raises(OutOfRangeError, match="no steps 0:99"):
        export_steps(viewer, tmp_path / "out", (0, 99))
    with pytest.raises(ParameterError, match="a directory; name a file"):
        export_steps(viewer, tmp_path)
    assert not list(tmp_path.iterdir())
