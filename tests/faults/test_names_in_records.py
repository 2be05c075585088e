"""Names in records that lead out of their directory: refused by every reader, before a byte is touched."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import run

from pile_tools.errors import DataError
from pile_tools.formats.digest_files import DigestRecord
from pile_tools.formats.fsspec_source import list_folder
from pile_tools.formats.hub import HubRepository
from pile_tools.formats.locations import parse_locations
from pile_tools.formats.manifest import FileEntry, Manifest, canonical_json, file_entry
from pile_tools.formats.names import name_problem, path_inside
from pile_tools.formats.order_record import BlendPart, BlendRecord, KeptOrder, OrderRecord, parse_record
from pile_tools.formats.origin_documents import ORIGIN_SCHEMA, OriginDocuments
from pile_tools.formats.origins import OriginDataset, OriginsRecord
from pile_tools.formats.overlay import OverlayRecord
from pile_tools.formats.provenance import Provenance, ProvenanceWriter, provenance_table
from pile_tools.stages.order import make_order
from pile_tools.stages.verify_records import RECORDS, TABLES, check_records
from pile_tools.suites.suite import Suite
from tests.hub_server import running_hub, use_as_hub
from tests.token_data import random_documents, write_dataset

# Independent of the code: what no file inside of a directory can be called.
NEVER = [
    "",
    ".",
    "..",
    "../payload",
    "a/../../payload",
    "parents/../../victim/evil.txt",
    "/etc/passwd",
    "//host/share",
    "a//b",
    "a/./b",
    "a/",
    "a\\..\\b",
    "..\\payload",
    "C:\\payload",
    "nul\0byte",
    "new\nline",
    "\x1b[31mred",
    "\x85next",
    "x" * 256,
    "a/" * 2048 + "a",
]
LEGIT = [
    "a",
    "document.bin",
    "train/00/a.jsonl.zst",
    "orders/x_idx.npy",
    "a b",
    "..a",
    "a..",
    "...",
    "é/ü",
    "c:d",
]


@pytest.mark.parametrize("name", NEVER)
def test_names_that_no_file_inside_can_have(name: str, tmp_path: Path) -> None:
    assert name_problem(name) is not None
    with pytest.raises(DataError, match="names "):
        path_inside(tmp_path, name)


@pytest.mark.parametrize("name", LEGIT)
def test_names_that_files_have(name: str, tmp_path: Path) -> None:
    assert name_problem(name) is None
    assert path_inside(tmp_path, name) == tmp_path / name
    assert (name_problem(name, nested=False) is None) == ("/" not in name)


@pytest.mark.parametrize("name", [None, 7, b"a", ["a"], "\ud800"])
def test_what_is_no_text_is_no_name(name: object) -> None:
    assert name_problem(name) is not None


def test_links_out_devices_and_pipes(tmp_path: Path) -> None:
    directory, victim = tmp_path / "data", tmp_path / "victim"
    (directory / "inner").mkdir(parents=True)
    victim.mkdir()
    (victim / "secret").write_text("secret")
    (directory / "file").write_text("own")
    (directory / "folder").symlink_to(victim)
    (directory / "secret").symlink_to(victim / "secret")
    (directory / "dangling").symlink_to(victim / "new")
    (directory / "loop").symlink_to(directory / "loop")
    (directory / "up").symlink_to("..")
    os.mkfifo(directory / "pipe")
    (directory / "null").symlink_to("/dev/null")
    for name in ("folder/secret", "folder/new", "secret", "dangling", "up/victim/x", "up/x", "pipe", "null"):
        with pytest.raises(DataError):
            path_inside(directory, name)
    # A link that stays inside leads to nothing else, and a directory may be reached by a link.
    (directory / "inner/link").symlink_to("../file")
    (tmp_path / "alias").symlink_to(directory)
    assert path_inside(directory, "inner/link").read_text() == "own"
    assert path_inside(tmp_path / "alias", "file").read_text() == "own"


def test_a_snapshot_in_the_cache_of_the_hub_is_of_links(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--me--tokens/snapshots/0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "datasets--me--tokens/blobs").mkdir()
    (tmp_path / "datasets--me--tokens/blobs/ab").write_text("content")
    (snapshot / "document.bin").symlink_to("../../blobs/ab")
    (snapshot / "out").symlink_to(tmp_path / "elsewhere")
    assert path_inside(snapshot, "document.bin").read_text() == "content"
    with pytest.raises(DataError, match="link out of"):
        path_inside(snapshot, "out")


def entry(name: str) -> FileEntry:
    return FileEntry(name, 1, "0" * 64)


def order(**changes: Any) -> OrderRecord:
    record = OrderRecord(
        label="document_a",
        recipe="neox",
        name="a",
        seed=1,
        seq_length=8,
        batch_size=4,
        num_samples=40,
        samples=40,
        steps=10,
        epochs=2,
        documents=(0, 3),
        split=None,
        index="e" * 64,
        dataset=None,
        manifest=None,
        sequences=3,
        data_bytes=10,
        files=(),
    )
    return replace(record, **changes)


def blend(name: str, label: str = "blend", part: str = "a") -> BlendRecord:
    files = (entry(name), entry(name))
    return BlendRecord(label, "neox", 1, 8, 4, 40, 40, 10, (BlendPart("../a/document", part, "1"),), files)


def origins(name: str, manifest: str = "0" * 64) -> OriginsRecord:
    dataset = OriginDataset(3, 10, 5, True, manifest, 0, False)
    files = tuple(map(entry, ("piece_starts.npy", "pieces.npy", name)))
    return OriginsRecord(2, False, (dataset,), files)


def suite(prefix: str = "document", name: str = "train_0") -> bytes:
    dataset = dict.fromkeys(("shards", "shard_bytes", "last_shard_bytes", "dtype", "sequences"))
    value = {
        "format": "pile-tools suite 1",
        "name": "mine",
        "title": "Mine",
        "dataset": {"location": "../tokens", "prefix": prefix, "sequence_tokens": None, **dataset},
        "order": {"recipe": "neox", "name": name, "seeds": {"0": 1}},
        "seq_length": 8,
        "batch_size": 4,
        "steps": 10,
        "tokenizer": None,
        "checkpoints": {"first": [0], "every": 5},
    }
    return json.dumps(value | {"models": [], "notes": [], "uncertain": []}).encode()


def digests(label: str) -> bytes:
    return DigestRecord(label, "s", 4, 8, "uint16", 0, 10, "0" * 64).to_bytes()


# Each kind of record: the bytes of one that holds a name, and what reads them. "part" marks names that are
# one part of a path, so that a folder in them is refused as well.
RECORD_KINDS: dict[str, tuple[Callable[[str], bytes], Callable[[bytes, str], object]]] = {
    "manifest.json outputs": (lambda name: Manifest("x", {}, [], [entry(name)]).to_bytes(), Manifest.parse),
    "manifest.json inputs": (lambda name: Manifest("x", {}, [entry(name)], []).to_bytes(), Manifest.parse),
    "manifest.json parents part": (
        lambda name: Manifest("x", {}, [], [], parents=[name]).to_bytes(),
        Manifest.parse,
    ),
    "order.json files": (lambda name: order(files=(entry(name),)).to_bytes(), parse_record),
    "order.json label part": (lambda name: order(label=name).to_bytes(), parse_record),
    "order.json name part": (lambda name: order(name=name).to_bytes(), parse_record),
    "order.json like part": (
        lambda name: order(like=KeptOrder(name, "0" * 64, None, None, False)).to_bytes(),
        parse_record,
    ),
    "order.json of a blend files": (lambda name: blend(name).to_bytes(), parse_record),
    "order.json of a blend label part": (lambda name: blend("a", label=name).to_bytes(), parse_record),
    "order.json of a blend order part": (lambda name: blend("a", part=name).to_bytes(), parse_record),
    "digests.json label part": (digests, DigestRecord.parse),
    "overlay.json files": (
        lambda name: OverlayRecord("p", 0, 4, 4, (), 0, (entry(name),)).to_bytes(),
        OverlayRecord.parse,
    ),
    "origins.json files": (lambda name: origins(name).to_bytes(), OriginsRecord.parse),
    "origins.json manifest part": (lambda name: origins("a", name).to_bytes(), OriginsRecord.parse),
    "locations.json": (lambda name: canonical_json({name: "../../anywhere/a.jsonl"}), parse_locations),
    "inputs.json": (lambda name: canonical_json({name: "/anywhere/a.jsonl"}), parse_locations),
    "suite prefix part": (lambda name: suite(prefix=name), Suite.parse),
    "suite order part": (lambda name: suite(name=name), Suite.parse),
}


@pytest.mark.parametrize("kind", RECORD_KINDS)
def test_records_that_name_what_is_outside(kind: str) -> None:
    build, parse = RECORD_KINDS[kind]
    parse(build("inside"), "record.json")
    bad = NEVER + (["folder/inside"] if kind.endswith("part") else [])
    for name in bad:
        with pytest.raises(DataError, match=r"record\.json"):
            parse(build(name), "record.json")


def write_documents(path: Path, name: str) -> None:
    with path.open("wb") as file, ProvenanceWriter(file) as writer:
        writer.write(provenance_table("good", [0], [None], [3], [bytes(16)]))
        writer.write(provenance_table(name, [0], [None], [3], [bytes(16)]))


def write_origin_documents(path: Path, name: str) -> None:
    columns = {"shard": pa.array(["good", name]), "row": [0, 0], "source": pa.nulls(2, pa.string())}
    values = columns | {"n_tokens": [3, 3], "document": [0, 1]}
    arrays = [pa.array(values[field.name]).cast(field.type) for field in ORIGIN_SCHEMA]
    pq.write_table(pa.Table.from_arrays(arrays, schema=ORIGIN_SCHEMA), path)


def write_columns(*columns: str) -> Callable[[Path, str], None]:
    def write(path: Path, name: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {column: ["good", "good"] for column in columns}
        values[columns[-1]] = ["good", name]
        pq.write_table(pa.table(values | {"row": [0, 1]}), path)

    return write


TABLE_KINDS: dict[str, tuple[str, Callable[[Path, str], None]]] = {
    "documents.parquet": ("documents.parquet", write_documents),
    "added/documents.parquet": ("added/documents.parquet", write_documents),
    "documents-*.parquet": ("documents-0.parquet", write_origin_documents),
    "dedup.parquet": ("dedup.parquet", write_columns("shard", "duplicate_of_shard")),
    "skipped.parquet": ("skipped.parquet", write_columns("shard")),
    "parents/*/removed.parquet": (f"parents/{'0' * 64}/removed.parquet", write_columns("shard")),
}


@pytest.mark.parametrize("kind", TABLE_KINDS)
@pytest.mark.parametrize("name", ["../payload", "/etc/passwd", "a\\b", "", "new\nline"])
def test_tables_that_name_what_is_outside(kind: str, name: str, tmp_path: Path) -> None:
    file, write = TABLE_KINDS[kind]
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, "train/00.jsonl")
    check_records(tmp_path)
    write(path, name)
    with pytest.raises(DataError, match="names "):
        check_records(tmp_path)
    if path.name.startswith("documents"):
        reader = OriginDocuments if "-" in path.name else Provenance
        with pytest.raises(DataError, match="names "):
            reader(path).lookup([1])
        with pytest.raises(DataError, match="names "):
            list(reader(path).tables())


def test_verify_knows_every_kind_of_record() -> None:
    """A kind of record that `verify` reads is tried above."""
    parsers = {parse for _, parse in RECORD_KINDS.values()} | {Manifest.find_in}
    assert set(RECORDS.values()) <= parsers
    assert set(TABLES) == set(TABLE_KINDS)


def test_listings_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        def repo_info(self, *arguments: Any, **options: Any) -> SimpleNamespace:
            return SimpleNamespace(sha="0" * 40, siblings=[SimpleNamespace(rfilename="../evil.idx", size=1)])

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(DataError, match=r"names '\.\./evil\.idx'"):
        HubRepository("dataset", "owner/name").files()
    fsspec.filesystem("memory").pipe("/listing/a\\b.idx", b"x")
    with pytest.raises(DataError, match="backslash"):
        list_folder("memory://listing")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that is not to be touched."""
    path = tmp_path / "victim/evil.txt"
    path.parent.mkdir()
    path.write_text("untouched")
    return path


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A token dataset as `tokenize` lists it, with an order."""
    directory = write_dataset(tmp_path / "tokens", random_documents(0, [9, 30, 4, 60, 17])).parent
    outputs = [file_entry(directory / name) for name in ("document.bin", "document.idx")]
    Manifest("tokenize", {"eod_id": None, "shard_bytes": None}, [], outputs).write(directory)
    make_order(directory, seq_length=8, batch_size=4, steps=3)
    return directory


def list_file(directory: Path, name: str, content: bytes) -> None:
    """Make the manifest of ``directory``, and the order beside it, list one more file."""
    manifest = Manifest.read(directory)
    path = directory / "content"
    path.write_bytes(content)
    listed = replace(manifest, outputs=[*manifest.outputs, file_entry(path, name)])
    path.unlink()
    listed.write(directory)
    record = parse_record((directory / "order.json").read_bytes(), "order.json")
    assert isinstance(record, OrderRecord)
    replace(record, manifest=listed.identity).write(directory / "order.json")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that ends with 3 and one line; return the line."""
    capsys.readouterr()
    assert run(arguments) == 3
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 1
    return said.err


@pytest.mark.parametrize("name", ["parents/../../victim/evil.txt", "../victim/evil.txt", "/tmp/evil.txt"])
def test_a_server_that_lists_a_file_elsewhere(
    name: str,
    tokens: Path,
    victim: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    list_file(tokens, name, b"evil")
    files = {path.name: path.read_bytes() for path in tokens.iterdir()}
    with running_hub() as hub:
        hub.repositories["owner/name"] = {**files, name: b"evil", "victim/evil.txt": b"evil"}
        use_as_hub(monkeypatch, hub)
        (tmp_path / "deep").mkdir()
        for url in (f"{hub.url}/datasets/owner/name/resolve/main", "hf://datasets/owner/name"):
            out = tmp_path / "deep/out"
            said = refused(["fetch", "--data", url, "--steps", "0:1", "-o", str(out)], capsys)
            assert "names " in said
            assert not list(out.rglob("*evil*"))
    assert victim.read_text() == "untouched"


@pytest.mark.parametrize("name", ["../victim/evil.txt", "parents/../../victim/evil.txt", "a\\b"])
def test_merge_split_and_verify_of_a_manifest_that_lists_a_file_elsewhere(
    name: str, tokens: Path, victim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_file(tokens, name, victim.read_bytes())
    out = tmp_path / "deep/out"
    for command in (["merge"], ["split", "--shard-bytes", "100"]):
        assert "names " in refused([*command, str(tokens), "-o", str(out)], capsys)
    for command in (["verify", str(tokens)], ["lineage", str(tokens)]):
        assert str(tokens / "manifest.json") in refused(command, capsys)
    assert "names " in refused(["batch", "--data", str(tokens), "--step", "0"], capsys)
    assert victim.read_text() == "untouched"
    assert not out.exists() or not list(out.rglob("*.txt"))


def test_a_link_in_place_of_a_listed_file(
    tokens: Path, victim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    list_file(tokens, "notes.txt", victim.read_bytes())
    (tokens / "notes.txt").symlink_to(victim)
    out = tmp_path / "out"
    assert "link out of" in refused(["merge", str(tokens), "-o", str(out)], capsys)
    assert "link out of" in refused(["verify", str(tokens)], capsys)
    assert not (out / "notes.txt").exists()


@pytest.mark.parametrize("field", ["files", "label"])
def test_an_order_that_names_what_is_elsewhere(
    field: str, tokens: Path, victim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = parse_record((tokens / "order.json").read_bytes(), "order.json")
    assert isinstance(record, OrderRecord)
    changes: dict[str, Any] = {"label": "../victim/evil"}
    if field == "files":
        changes = {"files": (*record.files[:2], file_entry(victim, "../victim/evil.txt"))}
    replace(record, **changes).write(tokens / "order.json")
    before = sorted(path.name for path in victim.parent.iterdir())
    for command in (["merge"], ["split", "--shard-bytes", "100"]):
        assert "order.json" in refused([*command, str(tokens), "-o", str(tmp_path / "deep/out")], capsys)
    for command in (["verify", str(tokens)], ["digest", "--data", str(tokens)]):
        assert "order.json" in refused(command, capsys)
    assert sorted(path.name for path in victim.parent.iterdir()) == before
    assert victim.read_text() == "untouched"


def test_an_overlay_in_a_directory_whose_manifest_is_right(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` reads the records that a manifest lists, and does not only hash them."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    record = OverlayRecord("0" * 64, 0, 4, 4, (), 0, (entry("../victim/evil.txt"),))
    (overlay / "overlay.json").write_bytes(record.to_bytes())
    Manifest("intervene", {}, [], [file_entry(overlay / "overlay.json")]).write(overlay)
    assert "overlay.json" in refused(["verify", str(overlay)], capsys)


def test_a_checkpoint_that_names_files_elsewhere(tmp_path: Path) -> None:
    from pile_tools.train.files import read_layout
    from pile_tools.train.weights import _weight_files

    for name in ("../victim.safetensors", "/etc/passwd", "folder/a", ""):
        (tmp_path / "optimizer.json").write_bytes(canonical_json({"files": [name]}))
        with pytest.raises(DataError, match="names "):
            read_layout(tmp_path)
        index = {"weight_map": {"x": name}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(DataError, match="names "):
            _weight_files(tmp_path)


def test_files_whose_names_tables_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/new\nline.jsonl").write_text('{"text": "one"}\n')
    capsys.readouterr()
    assert run(["dedup", str(tmp_path / "corpus"), "-o", str(tmp_path / "out")]) == 2
    assert "control characters" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_order_whose_name_is_a_path(tokens: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("../x", "a/b", "a\\b", "", "new\nline"):
        arguments = ["order", str(tokens), "--seq-length", "8", "--steps", "1", "--name", name]
        assert run(arguments) == 2
    assert np.array_equal(sorted(path.name for path in tokens.parent.iterdir()), ["tokens"])


def test_what_is_written_into_a_dataset_does_not_follow_a_link_out_of_it(
    tokens: Path, victim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, other = tmp_path / "made", tmp_path / "other"
    other.mkdir()
    Manifest("other", {}, [], []).write(other)
    order = ["order", str(tokens), "--seq-length", "8", "--batch-size", "4", "--steps", "1", "--name", "b"]
    for path, command in {
        tokens / "digests.npy": ["digest", "--data", str(tokens)],
        tokens / "document_b_indexmap_4ns_8sl_1234s_doc_idx.npy": order,
        tokens / "document_b_indexmap_4ns_8sl_1234s_order.json": order,
        other / "README.md": ["card", str(other), "--replace"],
        other / "croissant.json": ["card", str(other)],
    }.items():
        for target in (made, victim):
            path.unlink(missing_ok=True)
            path.symlink_to(target)
            capsys.readouterr()
            assert run(command) == 3
            assert victim.read_text() == "untouched"
            assert not made.exists()
        path.unlink()
