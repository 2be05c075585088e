"""`pile-tools dedup` as a whole, against slow oracles and against datasketch."""

import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, PileToolsError
from pile_tools.jobs.workspace import InputFile, Workspace
from pile_tools.stages.dedup import phases as dedup_run
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from tests.reference import dedup as oracle
from tests.stages.dedup.corpora import (
    JOB,
    Stop,
    all_files,
    in_order,
    kept_texts,
    planted,
    record,
    removed_rows,
    write_corpus,
    write_zst,
)


def test_components_are_those_of_all_pairs(corpus: Path, texts: list[str], tmp_path: Path) -> None:
    manifest = dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    documents = in_order(texts)
    address = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    expected = oracle.components([text for _, _, text in documents], 0.87, 5)
    rows = removed_rows(tmp_path / "out")
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row["component"], []).append(address[row["shard"], row["row"]])
    # The first of a component stays; the numbers of components follow their firsts.
    assert [found[i] for i in range(len(found))] == [component[1:] for component in expected]
    for row in rows:
        me = documents[address[row["shard"], row["row"]]][2]
        other = documents[address[row["duplicate_of_shard"], row["duplicate_of_row"]]][2]
        true = float(oracle.similarity(oracle.shingles(me, 5), oracle.shingles(other, 5)))
        assert row["jaccard"] == true >= 0.87
    gone = {i for component in expected for i in component[1:]}
    assert kept_texts(tmp_path / "out") == [(s, t) for i, (s, _, t) in enumerate(documents) if i not in gone]
    assert manifest.counts["documents"] == len(texts)
    assert manifest.counts["removed"] == len(gone)
    assert manifest.counts["kept"] == len(texts) - len(gone)
    assert sum(manifest.counts["components"].values()) == len(expected)
    assert sum(manifest.counts["similarities"].values()) == len(gone)
    assert {name: sums["documents"] for name, sums in manifest.counts["sources"].items()} == {
        name: sum(j % 2 == k for i in range(3) for j in range(len(texts[i::3])))
        for k, name in enumerate("AB")
    }


def test_exact_removes_equal_texts_alone(corpus: Path, texts: list[str], tmp_path: Path) -> None:
    dedup([corpus], tmp_path / "out", resolve_job(exact=True), workers=1)
    seen: set[str] = set()
    expected = []
    for shard, _, text in in_order(texts):
        if text not in seen:
            expected.append((shard, text))
        seen.add(text)
    assert kept_texts(tmp_path / "out") == expected
    assert all(row["jaccard"] == 1.0 for row in removed_rows(tmp_path / "out"))


def test_bytes_depend_on_neither_workers_nor_memory(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dedup([corpus], tmp_path / "one", resolve_job(), workers=1)
    expected = all_files(tmp_path / "one")
    monkeypatch.setattr("pile_tools.stages.dedup.phases.SMALL_BYTES", 0)
    monkeypatch.setattr("pile_tools.stages.dedup.phases._SMALL_DOCUMENTS", 0)
    dedup([corpus], tmp_path / "two", resolve_job(), workers=2)
    assert all_files(tmp_path / "two") == expected
    # A budget so small that keys come in many ranges and sets are compared pair by pair.
    monkeypatch.setattr("pile_tools.stages.dedup.phases.SMALL_BYTES", 1 << 30)
    monkeypatch.setattr("pile_tools.stages.dedup.phases._SMALL_DOCUMENTS", 1 << 30)
    monkeypatch.setattr("pile_tools.stages.dedup.dedup._LEAST_BUDGET", 2000)
    monkeypatch.setattr("pile_tools.stages.dedup.dedup._LEAST_MEMORY", 2000)
    monkeypatch.setattr("pile_tools.stages.dedup.decide.LINKED_BYTES", 1)
    dedup([corpus], tmp_path / "three", resolve_job(), workers=1, memory=3000)
    assert all_files(tmp_path / "three") == expected


def test_bad_records(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(record("good one") + b"{oops\n" + b'{"x": 1}\n' + record("good two"))
    with pytest.raises(DataError, match=r"in\.jsonl:1: .*--on-bad-record skip"):
        dedup([tmp_path / "in.jsonl"], tmp_path / "no", resolve_job(), workers=1)
    job = resolve_job(on_bad_record="skip")
    manifest = dedup([tmp_path / "in.jsonl"], tmp_path / "out", job, workers=1)
    assert manifest.counts["skipped_records"] == 2
    assert manifest.counts["documents"] == manifest.counts["kept"] == 2
    skipped = pq.read_table(tmp_path / "out" / "skipped.parquet").to_pylist()
    assert [(row["shard"], row["row"]) for row in skipped] == [("in.jsonl", 1), ("in.jsonl", 2)]
    assert (tmp_path / "out" / "in.jsonl").read_bytes() == record("good one") + record("good two")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_no_documents_at_all(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    with pytest.raises(PileToolsError, match="no documents"):
        dedup([tmp_path / "in.jsonl"], tmp_path / "out", resolve_job(), workers=1)
    # Nothing is left that would refuse another job.
    assert not all_files(tmp_path / "out")
    (tmp_path / "other.jsonl").write_bytes(record("one"))
    dedup([tmp_path / "other.jsonl"], tmp_path / "out", resolve_job(keep="last"), workers=1)


NO_DOCUMENT_OPTIONS = [
    {},
    {"verify": "none"},
    {"exact": True},
    {"save_signatures": True},
    {"preset": "datasketch"},
    {"keep": "longest"},
]


@pytest.mark.parametrize("options", NO_DOCUMENT_OPTIONS, ids=str)
def test_records_of_which_none_is_a_document_pass_through(options: dict[str, Any], tmp_path: Path) -> None:
    big = record("x " * 3000)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(big + b"\n" + b'{"x": 1}\n' + big)
    (tmp_path / "in" / "b.jsonl").write_bytes(b"{oops\n")
    job = resolve_job(max_document_bytes=2000, on_bad_record="skip", **options)
    manifest = dedup([tmp_path / "in"], tmp_path / "out", job, workers=1)
    assert manifest.counts["oversized_records"] == manifest.counts["skipped_records"] == 2
    assert (manifest.counts["documents"], manifest.counts["kept"], manifest.counts["removed"]) == (0, 0, 0)
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == big + b"\n" + big
    assert (tmp_path / "out" / "b.jsonl").read_bytes() == b""
    assert removed_rows(tmp_path / "out") == []
    rows = [(row["shard"], row["row"]) for row in pq.read_table(tmp_path / "out/skipped.parquet").to_pylist()]
    assert rows == [("a.jsonl", 2), ("b.jsonl", 0)]
    assert dedup([tmp_path / "in"], tmp_path / "out", job, workers=1) == manifest


def test_truncated_shard_is_an_error(corpus: Path, tmp_path: Path) -> None:
    content = (corpus / "1.jsonl.zst").read_bytes()
    (tmp_path / "1.jsonl.zst").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="truncated"):
        dedup([corpus / "0.jsonl.zst", tmp_path / "1.jsonl.zst"], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("pattern", ["", "**/*.zst"])
def test_an_output_inside_the_corpus_is_no_part_of_it(
    pattern: str, corpus: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    given, out = copy / pattern, copy / "sub" / "out"
    for calls in (8, 1000):
        try:
            dedup([given], out, JOB, workers=1, progress=Stop(calls))
        except KeyboardInterrupt:
            continue
    # Resumed above, and run again here.
    manifest = dedup([given], out, JOB, workers=1)
    assert manifest.to_bytes() == expected["manifest.json"]


def test_input_that_changes_during_the_run(corpus: Path, tmp_path: Path) -> None:
    texts = planted(7, 20)
    copy = write_corpus(tmp_path / "corpus", texts, shards=1)

    def change(label: str, done: int, total: int) -> None:
        if (label, done) == ("group", total):
            write_zst(copy / "0.jsonl.zst", [record(text + " more") for text in texts[:-1]])

    with pytest.raises(PileToolsError, match="changed"):
        dedup([copy], tmp_path / "out", resolve_job(), workers=1, progress=change)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_input_whose_content_alone_changes_during_the_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = tmp_path / "1.jsonl.zst"
    shard.write_bytes((corpus / shard.name).read_bytes())
    write_removed = dedup_run.write_removed

    def change(*arguments: Any) -> None:
        write_removed(*arguments)
        content, status = shard.read_bytes(), shard.stat()
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    monkeypatch.setattr(dedup_run, "write_removed", change)
    with pytest.raises(PileToolsError, match=r"1\.jsonl\.zst: changed during the run"):
        dedup([shard], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_two_runs_into_one_directory(corpus: Path, tmp_path: Path) -> None:
    shards = sorted(corpus.iterdir())
    other = Workspace(
        tmp_path / "out",
        stage="dedup",
        parameters=JOB.parameters(),
        inputs=[InputFile(path, path.name) for path in shards],
    )
    with other, pytest.raises(PileToolsError, match="another run"):
        dedup([corpus], tmp_path / "out", JOB, workers=1)


def test_flipped_bits_are_an_error_or_no_difference(corpus: Path, tmp_path: Path) -> None:
    source = corpus / "0.jsonl.zst"
    whole = source.read_bytes()
    dedup([source], tmp_path / "whole", resolve_job(), workers=1)
    rng = random.Random(8)
    errors = 0
    for i in range(60):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        (tmp_path / f"{i}").mkdir()
        (tmp_path / f"{i}" / source.name).write_bytes(damaged)
        try:
            dedup([tmp_path / f"{i}"], tmp_path / f"out{i}", resolve_job(), workers=1)
        except DataError:
            errors += 1
            continue
        kept = (tmp_path / f"out{i}" / source.name).read_bytes()
        assert kept == (tmp_path / "whole" / source.name).read_bytes()
    assert errors > 50


def test_corrupt_parquet_in_the_middle(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for i in range(3):
        texts = [f"document {i} {j} " + " ".join(planted(i, 3)) for j in range(20)]
        pq.write_table(pa.table({"text": texts}), corpus / f"{i}.parquet", write_page_checksum=True)
    path = corpus / "1.parquet"
    whole = path.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        whole[:1000] + bytes([whole[1000] ^ 0xFF]) + whole[1001:],
        b"PAR1 no more",
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"1\.parquet"):
            dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
        assert not (tmp_path / "out" / "manifest.json").exists()
        for left in sorted((tmp_path / "out").rglob("*"), reverse=True):
            left.unlink() if left.is_file() else left.rmdir()
