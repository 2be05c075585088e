"""`pile-tools dedup` as a whole, against slow oracles and against datasketch."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasketch import MinHash, MinHashLSH

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.zstd import RowFrameWriter
from pile_tools.stages import dedup_verify
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.dedup_sets import verify_pairs
from pile_tools.stages.dedup_tables import DEDUP_SCHEMA
from tests.reference import dedup as oracle

VOCABULARY = [f"word{i}" for i in range(500)]


def text_of(words: list[str]) -> str:
    return " ".join(words)


def planted(seed: int, clusters: int, length: int = 150) -> list[str]:
    """Documents in clusters whose members differ by a few words, mixed, and some unlike all others."""
    rng = random.Random(seed)
    texts = []
    for _ in range(clusters):
        base = rng.choices(VOCABULARY, k=length)
        texts.append(text_of(base))
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            copy = list(base)
            for _ in range(rng.choice([0, 0, 1, 2, 3, 6])):
                copy[rng.randrange(length)] = rng.choice(VOCABULARY)
            texts.append(text_of(copy))
    rng.shuffle(texts)
    return texts


def write_zst(path: Path, lines: list[bytes]) -> None:
    with path.open("wb") as file:
        writer = RowFrameWriter(file)
        for line in lines:
            writer.write(line)
        writer.close()


def record(text: str, source: str = "A") -> bytes:
    return json.dumps({"id": 1, "text": text, "meta": {"pile_set_name": source}}).encode() + b"\n"


def write_corpus(directory: Path, texts: list[str], shards: int = 3) -> Path:
    directory.mkdir()
    for i in range(shards):
        lines = [record(text, "AB"[j % 2]) for j, text in enumerate(texts[i::shards])]
        write_zst(directory / f"{i}.jsonl.zst", lines)
    return directory


def in_order(texts: list[str], shards: int = 3) -> list[tuple[str, int, str]]:
    """The documents of ``write_corpus`` as (shard, row, text), in corpus order."""
    return [(f"{i}.jsonl.zst", row, text) for i in range(shards) for row, text in enumerate(texts[i::shards])]


def removed_rows(output: Path) -> list[dict[str, Any]]:
    table = pq.read_table(output / "dedup.parquet")
    assert table.schema.equals(DEDUP_SCHEMA)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def kept_texts(output: Path) -> list[tuple[str, str]]:
    found = []
    for entry in Manifest.read(output).outputs:
        if entry.documents is not None:
            shard = Shard(output / entry.name, entry.name)
            found += [(entry.name, text) for batch in ShardReader(shard) for text in batch.texts()]
    return found


def all_files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*planted(1, 40), "...", "...", "", "one two", "one two", "One, two!", "one three", "two one"]


@pytest.fixture(scope="module")
def corpus(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("dedup") / "corpus", texts)


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


def test_partner_is_the_kept_document_where_it_is_similar_enough(
    corpus: Path, texts: list[str], tmp_path: Path
) -> None:
    dedup([corpus], tmp_path / "out", resolve_job(threshold=0.8), workers=1)
    documents = in_order(texts)
    address = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    sets = [oracle.shingles(text, 5) for _, _, text in documents]
    first = {i: c[0] for c in oracle.components([t for _, _, t in documents], 0.8, 5) for i in c}
    for row in removed_rows(tmp_path / "out"):
        me = address[row["shard"], row["row"]]
        partner = address[row["duplicate_of_shard"], row["duplicate_of_row"]]
        if float(oracle.similarity(sets[me], sets[first[me]])) >= 0.8:
            assert partner == first[me]
        else:
            assert first[partner] == first[me]


@pytest.mark.parametrize("keep", ["last", "longest"])
def test_keep(keep: Any, corpus: Path, texts: list[str], tmp_path: Path) -> None:
    dedup([corpus], tmp_path / "out", resolve_job(keep=keep), workers=1)
    documents = in_order(texts)
    stays = []
    for component in oracle.components([t for _, _, t in documents], 0.87, 5):
        longest = max(component, key=lambda i: (len(documents[i][2].encode()), -i))
        stays.append(component[-1] if keep == "last" else longest)
    kept = set(range(len(documents))) - {
        i for c in oracle.components([t for _, _, t in documents], 0.87, 5) for i in c if i not in stays
    }
    assert kept_texts(tmp_path / "out") == [(s, t) for i, (s, _, t) in enumerate(documents) if i in kept]
    for row in removed_rows(tmp_path / "out"):
        assert row["jaccard"] >= 0.87


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.87, 0.95])
def test_preset_datasketch_gives_the_groups_of_datasketch(
    threshold: float, corpus: Path, texts: list[str], tmp_path: Path
) -> None:
    manifest = dedup(
        [corpus], tmp_path / "out", resolve_job(threshold=threshold, preset="datasketch"), workers=1
    )
    index = MinHashLSH(threshold=threshold, num_perm=128)
    assert (manifest.parameters["bands"], manifest.parameters["rows"]) == (index.b, index.r)
    documents = in_order(texts)
    neighbours: dict[int, set[int]] = {i: set() for i in range(len(documents))}
    for i, (_, _, text) in enumerate(documents):
        shingles = oracle.shingles(text, 5)
        if shingles:
            minhash = MinHash(128, seed=1, hashfunc=lambda h: h & 0xFFFFFFFF)
            minhash.update_batch([oracle.shingle_hash(s) for s in shingles])
            for j in index.query(minhash):
                neighbours[i].add(j)
                neighbours[j].add(i)
            index.insert(i, minhash)
    expected = oracle.graph_components(neighbours)
    address = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    found: dict[int, list[int]] = {}
    for row in removed_rows(tmp_path / "out"):
        found.setdefault(row["component"], []).append(address[row["shard"], row["row"]])
        assert row["jaccard"] is None
    assert [found[i] for i in range(len(found))] == [component[1:] for component in expected]


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
    monkeypatch.setattr("pile_tools.stages.dedup_run.SMALL_BYTES", 0)
    monkeypatch.setattr("pile_tools.stages.dedup_run._SMALL_DOCUMENTS", 0)
    dedup([corpus], tmp_path / "two", resolve_job(), workers=2)
    assert all_files(tmp_path / "two") == expected
    # A budget so small that keys come in many ranges and sets are compared pair by pair.
    monkeypatch.setattr("pile_tools.stages.dedup_run.SMALL_BYTES", 1 << 30)
    monkeypatch.setattr("pile_tools.stages.dedup_run._SMALL_DOCUMENTS", 1 << 30)
    monkeypatch.setattr("pile_tools.stages.dedup._LEAST_BUDGET", 2000)
    monkeypatch.setattr("pile_tools.stages.dedup._LEAST_MEMORY", 2000)
    monkeypatch.setattr("pile_tools.stages.dedup_decide.LINKED_BYTES", 1)
    dedup([corpus], tmp_path / "three", resolve_job(), workers=1, memory=3000)
    assert all_files(tmp_path / "three") == expected


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


def test_documents_without_words_are_never_merged(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"".join([record("?!"), record("?!"), record(""), record("")]))
    for name, job, kept in (
        ("a", resolve_job(), 4),
        ("b", resolve_job(preset="datasketch"), 4),
        ("c", resolve_job(exact=True), 2),  # whole texts are compared, with words or without
    ):
        assert dedup([tmp_path / "in.jsonl"], tmp_path / name, job, workers=1).counts["kept"] == kept


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


def test_large_records_pass_through(tmp_path: Path) -> None:
    big = record("x " * 3000)
    (tmp_path / "in.jsonl").write_bytes(big + record("small one here") + big + record("small one here"))
    job = resolve_job(max_document_bytes=2000)
    manifest = dedup([tmp_path / "in.jsonl"], tmp_path / "out", job, workers=1)
    assert manifest.counts["oversized_records"] == 2
    assert (manifest.counts["documents"], manifest.counts["removed"]) == (2, 1)
    assert (tmp_path / "out" / "in.jsonl").read_bytes() == big + record("small one here") + big


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": "1.1"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"threshold": "high"}, "threshold"),
        ({"ngram": 0}, "ngram"),
        ({"num_perm": 0}, "num_perm"),
        ({"preset": "datasketch", "verify": "exact"}, "verifies nothing"),
        ({"exact": True, "verify": "none"}, "whole texts"),
        ({"verify": "none", "num_perm": 10}, "datasketch refuses"),
    ],
)
def test_parameters_at_odds(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        resolve_job(**changes)


def test_too_little_memory(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="at least"):
        dedup([corpus], tmp_path / "out", resolve_job(), memory=1 << 20)
    # What cannot be known before the documents are linked can be resumed with more.
    monkeypatch.setattr("pile_tools.stages.dedup_decide.LINKED_BYTES", 1 << 30)
    with pytest.raises(ParameterError, match="to go on"):
        dedup([corpus], tmp_path / "out", resolve_job(), workers=1, memory=1 << 30)
    monkeypatch.undo()
    dedup([corpus], tmp_path / "out", resolve_job(), workers=1)


def compared_pairs(n: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pairs are compared where ``n`` documents are alike and ``n`` different ones share much."""
    rng = np.random.RandomState(3)
    shared = text_of([VOCABULARY[i] for i in rng.randint(0, 500, 60)])
    same = [record(shared)] * n
    alike = [
        record(shared + " " + text_of([VOCABULARY[j] for j in rng.randint(0, 500, 12)])) for _ in range(n)
    ]
    directory.mkdir()
    write_zst(directory / "in.jsonl.zst", [*same, *alike])
    compared = 0

    def count(store: Any, pairs: Any, *arguments: Any) -> Any:
        nonlocal compared
        compared += len(pairs)
        return verify_pairs(store, pairs, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(dedup_verify, "verify_pairs", count)
        manifest = dedup([directory / "in.jsonl.zst"], directory / "out", resolve_job(), workers=1)
    assert manifest.counts["removed"] == n - 1
    return compared


def test_identical_documents_and_boilerplate_take_linear_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = (compared_pairs(n, tmp_path / f"{n}", monkeypatch) for n in (1000, 4000))
    assert few > 0
    assert many < 6 * few  # all pairs would be 16 times as many


Halves = tuple[Path, Path, list[str], list[str]]


@pytest.fixture(scope="module")
def halves(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Halves:
    directory = tmp_path_factory.mktemp("halves")
    one, two = texts[::2], texts[1::2]
    return write_corpus(directory / "one", one), write_corpus(directory / "two", two), one, two


def kept_of(texts: list[str]) -> list[tuple[str, str]]:
    """What stays of ``write_corpus(texts)`` with the default settings."""
    documents = in_order(texts)
    gone = {i for c in oracle.components([t for _, _, t in documents], 0.87, 5) for i in c[1:]}
    return [(s, t) for i, (s, _, t) in enumerate(documents) if i not in gone]


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("keep", ["first", "longest"])
def test_against_another_corpus(saved: bool, keep: Any, halves: Halves, tmp_path: Path) -> None:
    one, two, texts_one, texts_two = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=saved), workers=1)
    if saved:
        # The text is not needed any more.
        for path in (tmp_path / "first").glob("*.zst"):
            path.unlink()
    dedup([two], tmp_path / "second", resolve_job(keep=keep), against=[tmp_path / "first"], workers=1)
    # Documents as (shard, row, text): what stayed of the first corpus, then the second.
    documents: list[tuple[str, int, str]] = []
    for shard, text in kept_of(texts_one):
        row = sum(s == f"first:{shard}" for s, _, _ in documents)
        documents.append((f"first:{shard}", row, text))
    there = len(documents)
    documents += in_order(texts_two)
    expected = []
    for component in oracle.components([text for _, _, text in documents], 0.87, 5):
        own = [i for i in component if i >= there]
        if len(own) == len(component):
            longest = max(own, key=lambda i: (len(documents[i][2].encode()), -i))
            own.remove(own[0] if keep == "first" else longest)
        if own:
            expected.append(own)
    place = {(shard, row): i for i, (shard, row, _) in enumerate(documents)}
    found: dict[int, list[int]] = {}
    for row in removed_rows(tmp_path / "second"):
        me = place[row["shard"], row["row"]]
        found.setdefault(row["component"], []).append(me)
        other = place[row["duplicate_of_shard"], row["duplicate_of_row"]]
        one_set, two_set = (oracle.shingles(documents[i][2], 5) for i in (me, other))
        assert row["jaccard"] == float(oracle.similarity(one_set, two_set)) >= 0.87
    assert [found[i] for i in range(len(found))] == expected
    assert len(expected) > 5
    assert Manifest.read(tmp_path / "second").parents == [Manifest.read(tmp_path / "first").identity]


@pytest.mark.parametrize("options", [{}, {"preset": "datasketch"}, {"exact": True}], ids=str)
def test_nothing_that_stayed_before_stays_again(
    options: dict[str, Any], halves: Halves, tmp_path: Path
) -> None:
    one, _, texts_one, _ = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=True), workers=1)
    dedup([one], tmp_path / "again", resolve_job(**options), against=[tmp_path / "first"], workers=1)
    both = {text for _, text in kept_texts(tmp_path / "again")} & {text for _, text in kept_of(texts_one)}
    without_words = {text for text in texts_one if not oracle.words(text)}
    assert both == (set() if "exact" in options else without_words)


def test_signatures_of_other_parameters_are_not_used(halves: Halves, tmp_path: Path) -> None:
    one, two, *_ = halves
    dedup([one], tmp_path / "first", resolve_job(save_signatures=True, seed=2), workers=1)
    dedup([two], tmp_path / "a", resolve_job(), against=[tmp_path / "first"], workers=1)
    (tmp_path / "other").mkdir()
    dedup([one], tmp_path / "other" / "first", resolve_job(), workers=1)
    dedup([two], tmp_path / "b", resolve_job(), against=[tmp_path / "other" / "first"], workers=1)
    assert removed_rows(tmp_path / "a") == removed_rows(tmp_path / "b")


def test_against_what_is_no_deduplicated_corpus(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match=r"manifest\.json"):
        dedup([corpus], tmp_path / "out", resolve_job(), against=[corpus], workers=1)
    dedup([corpus], tmp_path / "kept", resolve_job(), workers=1)
    with pytest.raises(ParameterError, match="called kept"):
        dedup([corpus], tmp_path / "out", resolve_job(), against=[tmp_path / "kept"] * 2, workers=1)
    with pytest.raises(ParameterError, match="pile-dedupe"):
        dedup([corpus], tmp_path / "out", resolve_job(preset="pile-dedupe"), against=[tmp_path / "kept"])


@pytest.mark.parametrize("kind", ["documents", "signatures", "offsets", "values"])
def test_damaged_signatures_are_noticed(kind: str, halves: Halves, tmp_path: Path) -> None:
    one, *_ = halves
    kept = tmp_path / "kept"
    dedup([one], kept, resolve_job(save_signatures=True), workers=1)
    path = kept / "signatures" / f"0.jsonl.zst.{kind}.npy"
    whole = path.read_bytes()
    # The lowest bit of the last item but one: every item still has its type, and most their range.
    at = len(whole) - 2 * np.load(path).itemsize
    for damaged in (whole[:-8], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"{kind}\.npy: changed since the manifest"):
            dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)
    path.write_bytes(whole)
    dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)


def test_signatures_that_no_manifest_lists(halves: Halves, tmp_path: Path) -> None:
    one, *_ = halves
    kept = tmp_path / "kept"
    manifest = dedup([one], kept, resolve_job(save_signatures=True), workers=1)
    some = [entry for entry in manifest.outputs if not entry.name.endswith("1.jsonl.zst.values.npy")]
    replace(manifest, outputs=some).write(kept)
    with pytest.raises(DataError, match=r"1\.jsonl\.zst\.values\.npy: not listed"):
        dedup([one], tmp_path / "out", resolve_job(), against=[kept], workers=1)
