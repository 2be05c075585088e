"""Addresses through dedup, against the original corpus itself; the chain of manifests."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.checks.checks import verify
from pile_tools.corpus.row_lookup import read_text
from pile_tools.corpus.shards import list_shards
from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.parents import History, carry_history
from pile_tools.lookups.lineage import addresses, lineage
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import Manifest, sha256_file
from pile_tools.storage.store import LocalStore

UNIQUE = "the words of this document number {} are not those of any other one called {}"


def line(text: Any) -> str:
    return json.dumps({"text": text}) + "\n"


def write_corpus(directory: Path) -> Path:
    """Three shards in which documents repeat, within a shard and across."""
    directory.mkdir()
    repeated = "one two three four five six seven eight"
    for name in ("part-2.jsonl", "part-10.jsonl"):
        lines = [line(UNIQUE.format(row, name)) if row % 3 else line(repeated) for row in range(20)]
        (directory / name).write_text("".join(lines))
    texts = [repeated if row % 4 == 0 else UNIQUE.format(row, "parquet") for row in range(12)]
    pq.write_table(pa.table({"text": texts}), directory / "rows.parquet", row_group_size=5)
    return directory


@pytest.fixture
def made(tmp_path: Path, demo_corpus: Path) -> Path:
    """A directory with in/, kept/ and tokens/."""
    write_corpus(tmp_path / "in")
    dedup([tmp_path / "in"], tmp_path / "kept", resolve_job())
    tokenize([tmp_path / "kept"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    return tmp_path


def test_every_document_leads_to_its_text_in_the_original_corpus(made: Path) -> None:
    history = History.open(LocalStore(made / "tokens"))
    originals = {shard.name: shard for shard in list_shards([made / "in"])}
    kept = {shard.name: shard for shard in list_shards([made / "kept"])}
    table = pq.read_table(made / "tokens/documents.parquet").to_pylist()
    assert len(table) < 20 + 20 + 12
    moved = 0
    for row in table:
        one, two = addresses(history, row["shard"], row["row"])
        assert (one.stage, one.shard, one.row) == ("tokenize", row["shard"], row["row"])
        assert two.stage == "dedup"
        text = read_text(kept[one.shard], one.row)
        assert text == read_text(originals[two.shard], two.row)
        moved += one.row != two.row
    assert moved > 10


def test_a_copied_dataset_still_knows_its_history(made: Path, tmp_path: Path) -> None:
    before = lineage(made / "tokens")
    shutil.copytree(made / "tokens", tmp_path / "elsewhere")
    for name in ("in", "kept", "tokens"):
        shutil.rmtree(made / name)
    assert lineage(tmp_path / "elsewhere") == before
    assert len(addresses(History.open(LocalStore(tmp_path / "elsewhere")), "part-2.jsonl", 0)) == 2


def test_what_is_carried_is_listed_with_its_hash(made: Path) -> None:
    manifest = Manifest.read(made / "tokens")
    carried = {entry.name: entry.sha256 for entry in manifest.outputs if entry.name.startswith("parents/")}
    identity = Manifest.read(made / "kept").identity
    assert set(carried) == {f"parents/{identity}/manifest.json", f"parents/{identity}/removed.parquet"}
    assert carried[f"parents/{identity}/manifest.json"] == identity
    for name, sha256 in carried.items():
        assert sha256_file(made / "tokens" / name) == sha256
    assert list(manifest.parents) == [identity]


def test_skipped_records_are_taken_into_account(tmp_path: Path, demo_corpus: Path) -> None:
    lines = [line("first of all the words"), "{\n", line("one two three"), line("one two three"), line("end")]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    dedup([tmp_path / "in.jsonl"], tmp_path / "kept", resolve_job(on_bad_record="skip"))
    tokenize([tmp_path / "kept"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    history = History.open(LocalStore(tmp_path / "tokens"))
    rows = [addresses(history, "in.jsonl", row)[-1].row for row in range(3)]
    assert rows == [0, 2, 4]


def test_blank_lines_hold_their_numbers(tmp_path: Path, demo_corpus: Path) -> None:
    lines = [
        "\n",
        line("first of all the words"),
        "  \n",
        line("one two three"),
        "\n",
        line("one two three"),
        line("end"),
    ]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    dedup([tmp_path / "in.jsonl"], tmp_path / "kept", resolve_job())
    assert Manifest.read(tmp_path / "kept").outputs[0].documents == 3
    tokenize([tmp_path / "kept"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    history = History.open(LocalStore(tmp_path / "tokens"))
    rows = pq.read_table(tmp_path / "tokens/documents.parquet").column("row").to_pylist()
    assert [addresses(history, "in.jsonl", row)[-1].row for row in rows] == [1, 3, 6]


def test_through_two_deduplications(made: Path, demo_corpus: Path) -> None:
    text = UNIQUE.format(1, "part-2.jsonl")
    content = (made / "in/part-10.jsonl").read_text()
    (made / "in/part-10.jsonl").write_text(line(text + " but nearly") + content)
    dedup([made / "in"], made / "exact", resolve_job(exact=True))
    dedup([made / "exact"], made / "near", resolve_job(threshold="0.6"))
    tokenize([made / "near"], made / "twice", tokenizer=str(demo_corpus))
    history = History.open(LocalStore(made / "twice"))
    stages = {"exact": made / "in", "near": made / "exact", "twice": made / "near"}
    inputs = {name: {s.name: s for s in list_shards([directory])} for name, directory in stages.items()}
    table = pq.read_table(made / "twice/documents.parquet").to_pylist()
    for row in table:
        chain = addresses(history, row["shard"], row["row"])
        texts = {
            read_text(inputs[name][address.shard], address.row)
            for name, address in zip(("twice", "near", "exact"), chain, strict=True)
        }
        assert len(texts) == 1
    assert [link.manifest and link.manifest.stage for link in lineage(made / "twice")] == [
        "tokenize",
        "dedup",
        "dedup",
    ]
    verify([made / "near", made / "twice"])


def test_raw_shards_have_one_address(tmp_path: Path, demo_corpus: Path) -> None:
    write_corpus(tmp_path / "in")
    manifest = tokenize([tmp_path / "in"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    assert not (tmp_path / "tokens/parents").exists()
    history = History.open(LocalStore(tmp_path / "tokens"))
    assert [a.identity for a in addresses(history, "part-2.jsonl", 3)] == [manifest.identity]
    with pytest.raises(DataError, match=r"no shard 'other\.jsonl'"):
        addresses(history, "other.jsonl", 0)


def test_the_chain(made: Path) -> None:
    make_order(made / "tokens", seq_length=32, batch_size=2, steps=3)
    chain = lineage(made / "tokens")
    assert [(link.depth, link.manifest and link.manifest.stage) for link in chain] == [
        (0, "order"),
        (0, "tokenize"),
        (1, "dedup"),
    ]
    order, tokens, kept = (link.manifest for link in chain)
    assert order is not None
    assert order.parents == [chain[1].identity]
    assert (tokens, kept) == (Manifest.read(made / "tokens"), Manifest.read(made / "kept"))
    value = chain[2].to_json()
    assert (value["stage"], value["identity"], value["depth"]) == ("dedup", chain[2].identity, 1)
    assert value["parameters"]["threshold"] == "0.87"
    assert [entry["name"] for entry in value["inputs"]] == ["part-2.jsonl", "part-10.jsonl", "rows.parquet"]


def test_a_parent_that_is_not_here_is_named(made: Path) -> None:
    shutil.rmtree(made / "tokens/parents")
    chain = lineage(made / "tokens")
    assert (chain[1].manifest, chain[1].identity) == (None, Manifest.read(made / "kept").identity)
    assert chain[1].to_json() == {"identity": chain[1].identity, "depth": 1, "stage": None}
    assert len(addresses(History.open(LocalStore(made / "tokens")), "part-2.jsonl", 0)) == 1


def test_a_parent_that_was_changed_is_refused(made: Path) -> None:
    folder = next((made / "tokens/parents").iterdir())
    shutil.copy(made / "tokens/manifest.json", folder)
    with pytest.raises(DataError, match=rf"not the manifest of {folder.name[:12]}…"):
        History.open(LocalStore(made / "tokens"))


def test_shards_changed_since_they_were_listed(made: Path) -> None:
    shards = list_shards([made / "kept"])
    shutil.rmtree(made / "kept")
    dedup([made / "in"], made / "kept", resolve_job(threshold="0.5"))
    with pytest.raises(DataError, match=r"manifest\.json: changed meanwhile"):
        carry_history(shards, made / "out")


def test_directories_without_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match=r"manifest\.json: missing"):
        lineage(tmp_path)
    with pytest.raises(PileToolsError, match="no such directory"):
        lineage(tmp_path / "none")
