"""What a directory carries of those that it was made from: their manifests, and the rows left out."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.corpus.shards import list_shards
from pile_tools.errors import DataError, UnfinishedError
from pile_tools.formats.parents import History, carry_history, carry_manifest, check_carried
from pile_tools.storage.manifest import Manifest, file_entry
from pile_tools.storage.store import LocalStore


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """``kept``, a deduplication of in.jsonl that left out rows 1, 3 and 4, and ``tokens``, made of it."""
    (tmp_path / "in.jsonl").write_text('{"text": "x"}\n' * 6)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "in.jsonl").write_text('{"text": "x"}\n' * 3)
    for name, rows in (("dedup.parquet", [4, 1]), ("skipped.parquet", [3])):
        pq.write_table(pa.table({"shard": ["in.jsonl"] * len(rows), "row": rows}), kept / name)
    names = ("in.jsonl", "dedup.parquet", "skipped.parquet")
    outputs = [file_entry(kept / name, documents=3 if name == "in.jsonl" else None) for name in names]
    Manifest("dedup", {}, [file_entry(tmp_path / "in.jsonl", documents=6)], outputs).write(kept)
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    carried = carry_history(list_shards([kept]), tokens)
    inputs = [file_entry(kept / "in.jsonl", documents=3)]
    listed = [file_entry(tokens / name, name) for name in carried]
    Manifest("tokenize", {}, inputs, listed, parents=[Manifest.read(kept).identity]).write(tokens)
    return tmp_path


def test_the_chain_is_known_without_the_directories(made: Path) -> None:
    identity = Manifest.read(made / "kept").identity
    (made / "kept").rename(made / "gone")
    history = History.open(LocalStore(made / "tokens"))
    assert set(history.ancestors) == {identity}
    maker = history.maker_of(history.own, "in.jsonl")
    assert maker is not None
    assert (maker[0].identity, maker[1]) == (identity, "in.jsonl")
    assert history.removed(identity, "in.jsonl").tolist() == [1, 3, 4]
    assert history.removed(identity, "other.jsonl").tolist() == []
    assert history.maker_of(maker[0], "in.jsonl") is None
    with pytest.raises(DataError, match="no shard 'x' among the inputs of its tokenize"):
        history.maker_of(history.own, "x")
    assert History.of_ancestor(LocalStore(made / "tokens"), identity).own.stage == "dedup"


def test_what_is_carried_is_carried_further(made: Path) -> None:
    own = Manifest.read(made / "tokens")
    (made / "next").mkdir()
    names = carry_manifest(LocalStore(made / "tokens"), own, made / "next")
    identities = {own.identity, *own.parents}
    assert {Path(name).parent.name for name in names} == identities
    assert {name for name in names if name.endswith("removed.parquet")}
    for name in names:
        assert (made / "next" / name).is_file()


def test_changes_are_met(made: Path) -> None:
    (identity,) = Manifest.read(made / "tokens").parents
    path = made / "tokens" / "parents" / identity / "manifest.json"
    content = path.read_bytes()
    check_carried(LocalStore(made / "tokens"), Manifest.read(made / "tokens"))
    replace(Manifest.read(made / "kept"), stage="other").write(path.parent)
    with pytest.raises(DataError, match="not the manifest of"):
        History.open(LocalStore(made / "tokens"))
    path.unlink()
    with pytest.raises(DataError, match=r"manifest\.json"):
        check_carried(LocalStore(made / "tokens"), Manifest.read(made / "tokens"))
    with pytest.raises(DataError, match="missing"):
        History.of_ancestor(LocalStore(made / "tokens"), identity)
    path.write_bytes(content)
    (path.parent / "removed.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        History.open(LocalStore(made / "tokens")).removed(identity, "in.jsonl")
    (path.parent / "removed.parquet").unlink()
    with pytest.raises(DataError, match=r"removed\.parquet: missing"):
        History.open(LocalStore(made / "tokens")).removed(identity, "in.jsonl")
    (made / "tokens" / "manifest.json").unlink()
    with pytest.raises(UnfinishedError):
        History.open(LocalStore(made / "tokens"))
