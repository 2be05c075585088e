"""Kept documents as they are written: byte for byte, with all columns, and complete."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.storage.manifest import Manifest
from tests.stages.dedup.corpora import (
    record,
    removed_rows,
    write_zst,
)


def test_kept_records_stand_as_they_stood(tmp_path: Path) -> None:
    odd = b'{ "text" : "caf\\u00e9 one two three four five",  "meta":{"pile_set_name":"X"} , "z": 1e3 }\r\n'
    lines = [odd, b"\n", record("alpha beta gamma"), odd, record("last line").rstrip()]
    (tmp_path / "in.jsonl").write_bytes(b"".join(lines))
    dedup([tmp_path / "in.jsonl"], tmp_path / "out", resolve_job(), workers=1)
    assert (tmp_path / "out" / "in.jsonl").read_bytes() == b"".join([odd, lines[1], lines[2], lines[4]])
    (row,) = removed_rows(tmp_path / "out")
    assert (row["row"], row["duplicate_of_row"]) == (3, 0)


def test_parquet_keeps_all_columns_and_an_emptied_shard_stays_valid(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "text": ["a b c d e f", "g h i j k l"], "t": [[1], [2, 3]]})
    pq.write_table(table, tmp_path / "a1.parquet")
    pq.write_table(table, tmp_path / "a2.parquet")
    dedup([tmp_path / "*.parquet"], tmp_path / "out", resolve_job(), workers=1)
    assert pq.read_table(tmp_path / "out" / "a1.parquet").equals(table)
    empty = pq.read_table(tmp_path / "out" / "a2.parquet")
    assert (empty.num_rows, empty.schema) == (0, table.schema)
    # A second stage can read what is left, empty shard and all.
    manifest = dedup([tmp_path / "out"], tmp_path / "again", resolve_job(), workers=1)
    assert manifest.counts["removed"] == 0
    assert manifest.parents == [Manifest.read(tmp_path / "out").identity]


def test_large_records_pass_through(tmp_path: Path) -> None:
    big = record("x " * 3000)
    (tmp_path / "in.jsonl").write_bytes(big + record("small one here") + big + record("small one here"))
    job = resolve_job(max_document_bytes=2000)
    manifest = dedup([tmp_path / "in.jsonl"], tmp_path / "out", job, workers=1)
    assert manifest.counts["oversized_records"] == 2
    assert (manifest.counts["documents"], manifest.counts["removed"]) == (2, 1)
    assert (tmp_path / "out" / "in.jsonl").read_bytes() == big + record("small one here") + big


# Runs a deduplication in a fork for each pair of its arguments, input and output.
MEASURE = r"""
import os, re, sys
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
job = resolve_job(max_document_bytes=1 << 20)
for source, output in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.fork() == 0:
        manifest = dedup([source], output, job, workers=1)
        # Not ru_maxrss, which begins with what the parent held.
        peak = re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]
        print(manifest.counts["oversized_records"], peak, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
@pytest.mark.slow
def test_a_line_of_any_length_is_passed_through_in_bounded_memory(suffix: str, tmp_path: Path) -> None:
    whole: dict[str, list[bytes]] = {}
    paths: list[str] = []
    for name, size in (("small", 2 << 20), ("large", 96 << 20)):
        lines = [record("one two three"), json.dumps({"text": "word " * (size // 5)}).encode() + b"\n"]
        source = tmp_path / name / f"in{suffix}"
        source.parent.mkdir()
        if suffix == ".jsonl":
            source.write_bytes(b"".join(lines))
        else:
            write_zst(source, lines)
        whole[name] = lines
        paths += [str(source), str(tmp_path / f"{name}-out")]
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", MEASURE, *paths]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    oversized, peaks = zip(*(map(int, line.split()) for line in run.stdout.splitlines()), strict=True)
    assert oversized == (1, 1)
    if suffix == ".jsonl":
        for name, lines in whole.items():
            assert (tmp_path / f"{name}-out" / "in.jsonl").read_bytes() == b"".join(lines)
    assert peaks[1] - peaks[0] < 72 << 10  # KiB; the line has 96 MiB
