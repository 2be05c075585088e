"""Orders and tables that are not what their records or their names say, and the ledger of what was proved."""

import dataclasses
import json
import os
import pickle
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer, DataError
from pile_tools.formats import retry
from pile_tools.formats.ledger import FileState, Ledger
from pile_tools.formats.manifest import Manifest, file_entry, sha256_file
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.order_record import OrderRecord, parse_record
from pile_tools.formats.proofs import Proofs, use_proofs
from pile_tools.formats.provenance import PROVENANCE_NAME
from pile_tools.formats.recorded_files import hash_claim
from pile_tools.formats.sources import MappedFile
from pile_tools.stages.blend import make_blend
from pile_tools.stages.order import make_order
from pile_tools.studies.intervene import Intervention, intervene
from pile_tools.viewer.fetch import fetch_steps
from tests.hub_server import Hub, running_hub, use_as_hub
from tests.token_data import random_documents, write_dataset
from tests.viewer.test_view import add_provenance

DOCUMENTS, TOKENS = 1000, 1200
SAMPLES = DOCUMENTS * TOKENS - 1
LABEL = f"document_train_0_indexmap_{SAMPLES}ns_1sl_1234s"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pile-tools" / "ledger"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-NeoX's own maps of more than 2**20 samples, without a record. Do not write into it."""
    directory = tmp_path_factory.mktemp("large") / "data"
    directory.mkdir()
    generator = np.random.RandomState(0)
    generator.randint(1, 60_000, DOCUMENTS * TOKENS).astype("<u2").tofile(directory / "document.bin")
    write_index(directory / "document.idx", "<u2", np.full(DOCUMENTS, TOKENS))
    position, offset = np.divmod(np.arange(SAMPLES + 1), TOKENS)
    save(directory, "sample", np.stack([position, offset], axis=1).astype(np.int32))
    save(directory, "doc", generator.permutation(DOCUMENTS).astype(np.int32))
    save(directory, "shuffle", generator.permutation(SAMPLES).astype(np.uint32))
    settle(directory)
    return directory


@pytest.fixture
def copy(large: Path, tmp_path: Path) -> Path:
    return shutil.copytree(large, tmp_path / "copy")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dataset with a recorded order of two epochs."""
    directory = write_dataset(tmp_path / "small", random_documents(0, [40] * 24)).parent
    make_order(directory, seq_length=8, batch_size=4, steps=40)
    return directory


def save(directory: Path, name: str, array: np.ndarray[Any, Any], label: str = LABEL) -> Path:
    path = directory / f"{label}_{name}_idx.npy"
    np.save(path, array)
    return path


def load(directory: Path, name: str) -> tuple[Path, Any]:
    (path,) = directory.glob(f"*_{name}_idx.npy")
    return path, np.load(path)


def settle(*paths: Path) -> None:
    """Wait until files are old enough to be remembered."""
    files = [path for place in paths for path in ([place] if place.is_file() else place.rglob("*"))]
    while not all(FileState.of(path.stat()).is_settled(time.time_ns()) for path in files):
        time.sleep(0.02)


def entries(ledger: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[2] for path in ledger.glob("*")) if ledger.is_dir() else []


def answers(data: Path, output: Path) -> list[list[str]]:
    """Commands that read an order, each by another way."""
    common = ["--data", str(data), "--batch-size", "64"]
    return [
        ["batch", *common, "--step", "2000", "--format", "npy", "-o", str(output / "b.npy")],
        ["seen", *common, "--document", "5"],
        ["repeats", *common],
        ["find", *common, "--tokens", "5,6", "--count"],
        ["trace", *common, "--step", "0", "--row", "0"],
        ["digest", str(data), "--batch-size", "64", "-o", str(output / "digests")],
        ["export", *common, "--steps", "0:1", "--format", "npy", "-o", str(output / "export")],
        ["fetch", *common, "--steps", "0:1", "-o", str(output / "fetched")],
        ["verify", str(data)],
    ]


def test_no_command_believes_a_long_shuffle_that_is_no_permutation(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    path, shuffle = load(copy, "shuffle")
    shuffle[SAMPLES // 12 :] = 0
    np.save(path, shuffle)
    for command in answers(copy, tmp_path):
        assert run(command) == 3, command
        out, err = capsys.readouterr()
        assert out == ""
        assert "no permutation" in err.splitlines()[-1]
    assert "permutation" not in entries(cache)
    with pytest.raises(DataError, match="no permutation"):
        BatchViewer.open(copy, batch_size=64, io="pread").batch(0)
    with pytest.raises(DataError, match="no permutation"):
        BatchViewer.open(copy, batch_size=64).torch_dataset()
    with pytest.raises(DataError, match="no permutation"):
        pickle.dumps(BatchViewer.open(copy, batch_size=64))


def test_one_sample_shown_twice_among_a_million(copy: Path) -> None:
    path, shuffle = load(copy, "shuffle")
    shuffle[-1] = shuffle[0]
    np.save(path, shuffle)
    with pytest.raises(DataError, match=f"at place {SAMPLES - 1}; it is no permutation"):
        BatchViewer.open(copy, batch_size=64).batch(5)


def test_a_long_sample_idx_that_cuts_elsewhere(copy: Path) -> None:
    path, sample_idx = load(copy, "sample")
    sample_idx[SAMPLES // 2, 1] += 1
    np.save(path, sample_idx)
    with pytest.raises(DataError, match=f"does not cut sample {SAMPLES // 2} "):
        BatchViewer.open(copy, batch_size=64).batch(0)


def test_one_document_in_the_place_of_all_others_of_its_size(copy: Path) -> None:
    path, doc_idx = load(copy, "doc")
    for wrong in (np.zeros_like(doc_idx), np.where(doc_idx == 7, 8, doc_idx)):
        np.save(path, wrong)
        with pytest.raises(DataError, match=r"doc_idx holds document \d+ [\d,]+ times, but"):
            BatchViewer.open(copy, batch_size=64).batch(0)


@pytest.mark.parametrize(
    ("part", "drawn", "is_right"),
    [
        ("train", range(18), True),
        ("valid", range(18, 20), True),
        ("valid", [18] * 2, True),  # one document of two epochs
        ("test", range(20, 24), True),
        ("test", range(19, 23), False),
        ("train", [0] * 18, False),
        ("train", range(2, 20), False),
        ("valid", [3, 5], False),
        ("train_0", range(18), False),
    ],
)
def test_bare_maps_draw_on_the_documents_that_their_name_allows(
    part: str, drawn: Any, is_right: bool, tmp_path: Path
) -> None:
    directory = write_dataset(tmp_path / "data", random_documents(0, [9] * 24)).parent
    doc_idx = np.array(drawn, np.int32)
    n_samples = (9 * len(doc_idx) - 1) // 4
    position, offset = np.divmod(np.arange(n_samples + 1) * 4, 9)
    label = f"document_{part}_indexmap_{n_samples}ns_4sl_1s"
    save(directory, "doc", doc_idx, label)
    save(directory, "sample", np.stack([position, offset], axis=1).astype(np.int32), label)
    save(directory, "shuffle", np.arange(n_samples, dtype=np.uint32), label)
    if is_right:
        assert BatchViewer.open(directory, batch_size=1).batch(0).shape == (1, 5)
        return
    with pytest.raises(DataError, match="doc_idx holds document"):
        BatchViewer.open(directory, batch_size=1).batch(0)


def test_megatron_core_says_which_documents_a_split_has(tmp_path: Path) -> None:
    directory = write_dataset(tmp_path / "data", random_documents(0, [9] * 20)).parent
    label = "0123456789abcdef0123456789abcdef-GPTDataset-valid"
    description = {"sequence_length": 4, "num_samples": 3, "split_matrix": [[0, 0.9], [0.9, 1.0], None]}
    (directory / f"{label}-description.txt").write_text(json.dumps(description))
    for drawn, is_right in ((range(18, 20), True), (range(17, 19), False), ([0, 0], False)):
        names = {"document": np.array(drawn, np.int32), "shuffle": np.arange(4, dtype=np.uint32)}
        position, offset = np.divmod(np.arange(5) * 4, 9)
        names["sample"] = np.stack([position, offset], axis=1).astype(np.int32)
        for name, array in names.items():
            np.save(directory / f"{label}-{name}_index.npy", array)
        if is_right:
            BatchViewer.open(directory, batch_size=1).batch(0)
        else:
            with pytest.raises(DataError, match="doc_idx holds document"):
                BatchViewer.open(directory, batch_size=1).batch(0)


def swap(path: Path, left: int = 0, right: int = 1) -> None:
    array = np.load(path)
    array[[left, right]] = array[[right, left]]
    np.save(path, array)


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_two_swapped_entries_of_a_recorded_shuffle(small: Path, io: Any) -> None:
    (path,) = small.glob("*_shuffle_idx.npy")
    swap(path)
    with pytest.raises(DataError, match=r"shuffle_idx\.npy: SHA-256") as caught:
        BatchViewer.open(small, io=io).batch(0)
    assert caught.value.exit_code == 3


def test_trusted_files_are_read_as_they_are_and_the_answer_says_so(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = small.glob("*_shuffle_idx.npy")
    before = BatchViewer.open(small).batch(0)
    swap(path)
    viewer = BatchViewer.open(small, trust_files=True)
    np.testing.assert_array_equal(viewer.batch(0)[[1, 0, 2, 3]], before)
    assert len(viewer.unproved) == 1
    again = pickle.loads(pickle.dumps(viewer))
    np.testing.assert_array_equal(again.batch(0), viewer.batch(0))
    command = ["seen", "--data", str(small), "--document", "3", "--json"]
    assert run(command) == 3
    capsys.readouterr()
    assert run([*command, "--trust-files"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["trust_files"] is True
    assert len(err.splitlines()) == 1
    assert "not checked" in err
    assert run(["batch", "--data", str(small), "--step", "0", "--row", "1", "--json", "--trust-files"]) == 0
    assert json.loads(capsys.readouterr().out)["trust_files"] is True


def test_an_order_whose_record_lists_no_maps(small: Path) -> None:
    path = small / "order.json"
    record = parse_record(path.read_bytes(), "")
    assert isinstance(record, OrderRecord)
    dataclasses.replace(record, files=record.files[:2]).write(path)
    with pytest.raises(DataError, match="lists 2 files"):
        BatchViewer.open(small)


def test_a_recorded_order_of_other_documents_or_epochs(small: Path) -> None:
    path = small / "order.json"
    record = parse_record(path.read_bytes(), "")
    assert isinstance(record, OrderRecord)
    for changes in ({"epochs": 1}, {"documents": (0, 23)}):
        dataclasses.replace(record, **changes).write(path)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="doc_idx holds document"):
            BatchViewer.open(small).batch(0)


def test_arrays_of_an_overlay_that_were_changed(small: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    intervene(small, overlay, Intervention(drop=["3"]), from_step=1)
    expected = BatchViewer.open(overlay).batch(5)
    for name in ("samples.npy", "pieces.npy"):
        content = (overlay / name).read_bytes()
        array = np.load(overlay / name)
        array[-1, 0] -= 1  # another sample, or a piece of another document
        np.save(overlay / name, array)
        with pytest.raises(DataError, match=f"{name}: SHA-256|contradict each other"):
            BatchViewer.open(overlay).batch(5)
        (overlay / name).write_bytes(content)
    np.testing.assert_array_equal(BatchViewer.open(overlay).batch(5), expected)
    path = overlay / "overlay.json"
    value = path.read_bytes()
    record = json.loads(value)
    record["files"] = [entry for entry in record["files"] if entry["name"] != "pieces.npy"]
    path.write_bytes(json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
    with pytest.raises(DataError, match=r"overlay.json: does not list pieces.npy"):
        BatchViewer.open(overlay)


def test_origins_and_index_of_fetched_steps_that_were_changed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = tmp_path / "steps"
    fetch_steps(BatchViewer.open(small), 2, 6, steps)
    for held in (16 << 20, 0):  # proved when opened, and before they are first read
        monkeypatch.setattr("pile_tools.formats.origins._HASHED", held)
        content = (steps / "pieces.npy").read_bytes()
        (steps / "pieces.npy").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(DataError, match=r"pieces.npy: SHA-256"):
            BatchViewer.open(steps).trace(2, 0)
        (steps / "pieces.npy").write_bytes(content)
    assert BatchViewer.open(steps).trace(2, 0).num_rows > 0
    manifest = Manifest.read(steps)
    dataclasses.replace(
        manifest, outputs=[entry for entry in manifest.outputs if entry.name != "document.idx"]
    ).write(steps)
    with pytest.raises(DataError, match=r"manifest.json: does not list document.idx"):
        BatchViewer.open(steps).batch(2)


def test_digests_of_another_order_are_not_made_of_a_damaged_one(small: Path) -> None:
    viewer = BatchViewer.open(small)
    viewer.make_digests()
    (path,) = small.glob("*_shuffle_idx.npy")
    swap(path)
    with pytest.raises(DataError, match="SHA-256"):
        BatchViewer.open(small).make_digests()


# The ledger


def test_a_second_process_finds_what_the_first_has_proved(
    large: Path, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["batch", "--data", str(large), "--batch-size", "4", "--step", "1", "--format", "tokens"]
    assert run(command) == 0
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 1
    assert "before the first use" in err
    assert entries(cache) == ["cuts", "permutation"]
    monkeypatch.setattr("pile_tools.viewer.order_proof.check_shuffle_idx", None)
    monkeypatch.setattr("pile_tools.viewer.order_proof.check_sample_idx", None)
    assert run(command) == 0
    assert capsys.readouterr() == (out, "")


@pytest.mark.parametrize("obstacle", ["file", "others may write", "no home"])
def test_without_a_ledger_the_proof_is_made_again(
    large: Path,
    cache: Path,
    obstacle: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if obstacle == "file":
        cache.parent.parent.write_text("in its place")
    elif obstacle == "others may write":
        cache.mkdir(parents=True)
        cache.chmod(0o777)
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    command = ["batch", "--data", str(large), "--batch-size", "4", "--step", "1", "--format", "tokens"]
    for _ in range(2):
        assert run(command) == 0
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 2
        assert "before the first use" in lines[0]
        assert "checks again" in lines[1]


@pytest.fixture
def proved(tmp_path: Path) -> tuple[Path, Proofs]:
    """A file of 2 MiB that was proved and is in the ledger."""
    path = tmp_path / "file"
    path.write_bytes(bytes(2 << 20))
    settle(path)
    proofs = Proofs()
    proofs.prove("file", [hash_claim(MappedFile(path), file_entry(path), "")])
    assert is_held(path, sha256_file(path))
    return path, proofs


def is_held(path: Path, value: str) -> bool:
    return Ledger.of_user().holds(FileState.of(path.stat()), "sha256", value)


def test_an_entry_says_one_thing_of_one_state_of_a_file(proved: tuple[Path, Proofs], tmp_path: Path) -> None:
    path, _ = proved
    value = sha256_file(path)
    assert not is_held(path, value[::-1])
    assert not Ledger.of_user().holds(FileState.of(path.stat()), "permutation", value)
    assert not is_held(shutil.copy2(path, tmp_path / "copy"), value)
    status = path.stat()
    path.write_bytes(bytes((2 << 20) - 1) + b"\1")  # the same size …
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # … and the same mtime
    assert not is_held(path, value)
    with pytest.raises(DataError, match="SHA-256"):
        Proofs().prove(
            "", [hash_claim(MappedFile(path), dataclasses.replace(file_entry(path), sha256=value), "")]
        )


@pytest.mark.parametrize("damage", ["garbage", "empty", "longer", "other claim", "pipe", "link", "directory"])
def test_a_damaged_entry_says_nothing(proved: tuple[Path, Proofs], cache: Path, damage: str) -> None:
    path, _ = proved
    (entry,) = cache.iterdir()
    content = entry.read_bytes()
    entry.unlink()
    if damage == "pipe":
        os.mkfifo(entry, 0o600)
    elif damage == "link":
        (cache / "elsewhere").write_bytes(content)
        entry.symlink_to("elsewhere")
    elif damage == "directory":
        entry.mkdir()
    else:
        changed = {"garbage": os.urandom(99), "empty": b"", "longer": content + b"\n"}
        entry.write_bytes(changed.get(damage, content.replace(b"sha256", b"sha255")))
    assert not is_held(path, sha256_file(path))
    lines: list[str] = []
    Proofs(notify=lines.append).prove("", [hash_claim(MappedFile(path), file_entry(path), "")])
    assert is_held(path, sha256_file(path)) == (damage != "directory")
    assert len(lines) == (damage == "directory")


def test_a_file_that_changes_during_its_proof_or_just_before_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 << 20))
    entry = file_entry(path)
    os.utime(path)
    Proofs().prove("", [hash_claim(MappedFile(path), entry, "")])
    assert not is_held(path, entry.sha256)  # a write in the same tick would not show
    settle(path)
    claim = hash_claim(MappedFile(path), entry, "")

    def check(advance: Any) -> None:
        claim.check(advance)
        with path.open("r+b") as file:
            file.write(b"\1")

    Proofs().prove("", [dataclasses.replace(claim, check=check)])
    assert not is_held(path, entry.sha256)


def test_a_replaced_file_is_not_the_one_that_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 << 20))
    entry = file_entry(path)
    mapped = MappedFile(path)
    other = tmp_path / "other"
    other.write_bytes(bytes([1]) * (2 << 20))
    other.replace(path)
    settle(path)
    Proofs().prove("", [hash_claim(mapped, entry, "")])
    assert not is_held(path, entry.sha256)


# Behind a URL


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as server:
        use_as_hub(monkeypatch, server)
        monkeypatch.setattr(retry, "sleep", lambda seconds: None)
        yield server


def publish(hub: Hub, directory: Path) -> str:
    hub.repositories["owner/name"] = {path.name: path.read_bytes() for path in directory.iterdir()}
    return "hf://datasets/owner/name"


def test_behind_a_url_a_sample_that_was_read_before_is_an_error(
    small: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = small.glob("*_shuffle_idx.npy")
    shuffle = np.load(path)
    shuffle[6] = shuffle[1]
    np.save(path, shuffle)
    url = publish(hub, small)
    with use_proofs(Proofs()) as proofs:
        viewer = BatchViewer.open(url)
        viewer.batch(0)
        viewer.batch(0)
        with pytest.raises(DataError, match=r"at place 6 and at another.*no permutation"):
            viewer.batch(1)
        assert len(proofs.unproved) == 1
    with pytest.raises(DataError, match="no permutation"):  # which reads all of it
        BatchViewer.open(url).repeats()
    assert run(["batch", "--data", url, "--step", "0", "--row", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "not the rest of the order" in err
    assert json.loads(out)["unproved"] == [err.strip()]


def test_behind_a_url_an_order_that_is_read_whole_is_proved_whole(small: Path, hub: Hub) -> None:
    swap(next(small.glob("*_shuffle_idx.npy")))
    viewer = BatchViewer.open(publish(hub, small))
    with pytest.raises(DataError, match=r"shuffle_idx\.npy: SHA-256"):
        viewer.repeats()


def test_a_blend_behind_a_url_that_shows_a_sample_twice(small: Path, tmp_path: Path, hub: Hub) -> None:
    make_blend([small, small], ["1", "1"], tmp_path / "blend", steps=3, batch_size=2, seq_length=8)
    (path,) = (tmp_path / "blend").glob("*_dataset_sample_index.npy")
    array = np.load(path)
    array[4] = array[0]
    np.save(path, array)
    with pytest.raises(DataError, match=r"dataset_sample_index\.npy: SHA-256"):
        BatchViewer.open(tmp_path / "blend").batch(0)
    files = (file for file in tmp_path.rglob("*") if file.is_file() and "cache" not in file.parts)
    hub.repositories["owner/name"] = {str(file.relative_to(tmp_path)): file.read_bytes() for file in files}
    viewer = BatchViewer.open("hf://datasets/owner/name/blend")
    viewer.batch(0)
    with pytest.raises(DataError, match=r"at place 4 and at another"):
        viewer.batch(2)
    assert any("rest of the blend" in line for line in viewer.unproved)


@pytest.mark.parametrize("damage", ["another", "not listed", "index not listed"])
def test_the_table_of_documents_is_the_one_of_the_manifest(small: Path, damage: str) -> None:
    add_provenance(small, 24)
    names = ("document.idx", "document.bin", PROVENANCE_NAME)
    Manifest("tokenize", {}, [], [file_entry(small / name) for name in names]).write(small)
    for path in small.glob("*order.json"):
        path.unlink()
    make_order(small, seq_length=8, batch_size=4, steps=40)
    assert BatchViewer.open(small).trace(0, 0).column("shard").null_count == 0
    message = "does not list"
    if damage == "another":
        content = (small / PROVENANCE_NAME).read_bytes()
        (small / PROVENANCE_NAME).write_bytes(content.replace(b"0.jsonl", b"9.jsonl"))
        message = r"documents\.parquet: SHA-256"
    else:
        left_out = PROVENANCE_NAME if damage == "not listed" else "document.idx"
        manifest = Manifest.read(small)
        outputs = [entry for entry in manifest.outputs if entry.name != left_out]
        dataclasses.replace(manifest, outputs=outputs).write(small)
        (small / "order.json").unlink()
    with pytest.raises(DataError, match=message):
        BatchViewer.open(small, batch_size=4).trace(0, 0)
