"""Tables of removed documents and skipped records."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.records import ReadCounts
from pile_tools.formats.npy import write_npy
from pile_tools.formats.signatures import DOCUMENT
from pile_tools.stages.dedup import tables
from pile_tools.stages.dedup.decide import DECISION
from pile_tools.stages.dedup.sign import write_info
from pile_tools.stages.dedup.tables import DEDUP_SCHEMA, SKIPPED_SCHEMA, write_removed, write_skipped
from pile_tools.stages.dedup.work_files import CorpusFiles, DedupPaths

NAMES = ["kept:a", "b", "é"]


@pytest.fixture
def files(tmp_path: Path) -> CorpusFiles:
    """Two documents of a compared corpus, then three and one of its own, in every second row."""
    paths = DedupPaths(tmp_path)
    paths.make()
    for shard, (size, skipped) in enumerate(
        [(2, [[1, "of the other"]]), (3, []), (1, [[0, "no text"], [4, "é"]])]
    ):
        documents = np.zeros(size, DOCUMENT)
        documents["row"] = 2 * np.arange(size)
        write_npy(paths.documents(shard), documents)
        write_info(paths.info(shard), ReadCounts(documents=size), skipped=skipped)
    return CorpusFiles(paths, 3, n_against_shards=1)


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_removed_documents_have_their_addresses(
    at_once: int, files: CorpusFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_ROWS_AT_ONCE", at_once)
    decisions = np.array([(3, 1, 9, 10, 0), (4, 3, 0, 0, 0), (5, 2, 7, 7, 1)], DECISION)
    write_npy(files.paths.decision, decisions)
    write_removed(files, NAMES, tmp_path / "dedup.parquet")
    table = pq.read_table(tmp_path / "dedup.parquet")
    assert table.schema == DEDUP_SCHEMA
    expected: list[tuple[Any, ...]] = [
        ("b", 2, "kept:a", 2, 0.9, 0),
        ("b", 4, "b", 2, None, 0),
        ("é", 0, "b", 0, 1.0, 1),
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == expected


def test_skipped_records_of_the_own_corpus(files: CorpusFiles, tmp_path: Path) -> None:
    write_skipped(files, NAMES, tmp_path / "skipped.parquet")
    table = pq.read_table(tmp_path / "skipped.parquet")
    assert table.equals(pa.table([["é", "é"], [0, 4], ["no text", "é"]], schema=SKIPPED_SCHEMA))


def test_tables_without_rows(files: CorpusFiles, tmp_path: Path) -> None:
    write_npy(files.paths.decision, np.empty(0, DECISION))
    write_removed(files, NAMES, tmp_path / "dedup.parquet")
    assert pq.read_table(tmp_path / "dedup.parquet").equals(DEDUP_SCHEMA.empty_table())
