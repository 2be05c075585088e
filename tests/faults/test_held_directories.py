"""Directories held by a job: what another job began there, a kill at the very end, a full disk."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.npy import write_npy
from pile_tools.jobs.file_group import FileGroup, UnfinishedRows
from pile_tools.jobs.progress import no_progress
from pile_tools.jobs.resumable_table import Part, make_table, write_table
from pile_tools.jobs.workspace import Workspace
from pile_tools.stages.digest import digest
from pile_tools.stages.export import export_steps
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.storage import atomic
from pile_tools.storage.locks import LOCK_NAME, DirectoryLock
from pile_tools.storage.manifest import FileEntry, Manifest, file_entry
from tests.token_data import random_documents, write_dataset

SIZES = [5, 40, 17, 3, 60, 8, 8, 90, 21, 33]
ORDER: dict[str, Any] = {"seq_length": 8, "batch_size": 4}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent


@pytest.fixture
def viewer(data: Path) -> BatchViewer:
    make_order(data, **ORDER, steps=10)
    return BatchViewer.open(data)


def content(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def workspace(directory: Path, threshold: str = "1") -> Workspace:
    return Workspace(directory, stage="dedup", parameters={"threshold": threshold}, inputs=[])


def finish(space: Workspace) -> None:
    (space.directory / "kept.jsonl").write_text("x")
    entry = file_entry(space.directory / "kept.jsonl")
    space.finish(Manifest("dedup", {"threshold": "1"}, [], [entry]))


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("job.json", b"{}"),
        ("job.json", b"[1]"),
        ("job.json", b"not JSON"),
        ("job.json", b'{"stream": "x", "steps": "0:4"}'),
        ("shard.bin", b"bytes"),
    ],
)
def test_a_work_folder_of_something_else_is_left_as_it_is(tmp_path: Path, name: str, held: bytes) -> None:
    work = tmp_path / "out" / ".unfinished"
    work.mkdir(parents=True)
    (work / name).write_bytes(held)
    (work / "kept.7.partial").write_bytes(b"half")
    before = content(tmp_path / "out")
    problem = r"already holds something else \(\.unfinished/shard\.bin\)"
    if name == "job.json":
        problem = r"\.unfinished/job\.json: not the record of a job .*; choose another directory with `-o`"
    with pytest.raises(PileToolsError, match=problem) as error:
        workspace(tmp_path / "out").__enter__()
    assert "\n" not in str(error.value)
    assert content(tmp_path / "out") == before


def test_half_finished_work_of_a_different_job_keeps_its_partial_files(tmp_path: Path) -> None:
    with workspace(tmp_path / "out") as space:
        (space.work / "kept.7.partial").write_bytes(b"half")
    before = content(tmp_path / "out")
    with pytest.raises(PileToolsError, match="half-finished by a different job: parameters: threshold '1'"):
        workspace(tmp_path / "out", "2").__enter__()
    assert content(tmp_path / "out") == before


def test_a_job_killed_after_its_manifest_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with workspace(out) as space:
        finish(space)
    before = content(out)
    (out / ".unfinished").mkdir()
    (out / ".unfinished" / "part").touch()
    with pytest.raises(PileToolsError, match="choose another directory"):
        workspace(out, "2").__enter__()
    assert (out / ".unfinished" / "part").exists()
    (out / "kept.jsonl").write_text("longer")
    with pytest.raises(DataError, match=r"kept\.jsonl: changed or missing"):
        workspace(out).__enter__()
    (out / "kept.jsonl").write_text("x")
    with workspace(out) as space:
        assert space.finished == Manifest.read(out)
    assert content(out) == before
    assert not (out / ".unfinished").exists()


def test_a_recut_killed_after_its_manifest_ends_with_the_same_bytes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"shard_bytes": None}
    entries = [file_entry(data / name) for name in ("document.bin", "document.idx")]
    Manifest("tokenize", parameters, [], entries).write(data)
    recut(data, tmp_path / "whole", shard_bytes=64)

    def kill(space: Workspace) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "_remove_work", kill)
        with pytest.raises(KeyboardInterrupt):
            recut(data, tmp_path / "killed", shard_bytes=64)
    assert (tmp_path / "killed" / ".unfinished").exists()
    recut(data, tmp_path / "killed", shard_bytes=64)
    assert not (tmp_path / "killed" / ".unfinished").exists()
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


class Pair(FileGroup):
    """Two files, of which the second is the record."""

    def is_finished(self) -> bool:
        return (self.directory / "pair.json").exists()


def test_a_group_that_another_run_ended_meanwhile_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = DirectoryLock.__enter__

    def lock_late(self: DirectoryLock) -> DirectoryLock:
        (tmp_path / "pair.json").write_text("of the other run")
        return lock(self)

    monkeypatch.setattr(DirectoryLock, "__enter__", lock_late)
    with Pair(tmp_path) as group:
        assert group.finished
    assert [path.name for path in tmp_path.iterdir()] == ["pair.json"]


def test_a_group_changes_nothing_else_and_is_not_recorded_without_its_files(tmp_path: Path) -> None:
    (tmp_path / "document.bin").write_bytes(b"another job's")
    (tmp_path / "download.2024.partial").write_bytes(b"another tool's")
    with (
        pytest.raises(PileToolsError, match=r"first\.npy: changed or missing") as error,
        Pair(tmp_path) as group,
    ):
        group.finish("pair.json", b"{}", [FileEntry("first.npy", 1, "")])
    assert f"remove {tmp_path}" not in str(error.value)
    assert sorted(content(tmp_path)) == ["document.bin", "download.2024.partial"]
    with Pair(tmp_path) as group:
        assert not group.finished
        (tmp_path / "first.npy").write_bytes(b"1")
        group.finish("pair.json", b"{}", [file_entry(tmp_path / "first.npy")])
    with DirectoryLock(tmp_path), Pair(tmp_path) as group:  # which needs no lock
        assert group.finished


def make_part(part: Part) -> None:
    import pyarrow as pa

    write_table(pa.table({"step": np.arange(part.start, part.stop)}), part.path)


def table(output: Path, k: int = 1) -> bool:
    return make_table(
        output,
        study="steps",
        parameters={"k": k},
        parts=[(0, 4), (4, 6)],
        function=make_part,
        arguments=(),
        workers=1,
        progress=no_progress,
    )


# Each writer with the file that the disk does not take, below the directory that is written.
WRITERS: dict[str, tuple[Callable[[BatchViewer, Path, Path], object], str]] = {
    "fetch": (lambda viewer, data, out: fetch_steps(viewer, 0, 4, out), "document.bin"),
    "fetch, a step": (lambda viewer, data, out: fetch_steps(viewer, 0, 4, out), ".unfinished/step-2.bin"),
    "fetch, the manifest": (lambda viewer, data, out: fetch_steps(viewer, 0, 4, out), "manifest.json"),
    "export": (
        lambda viewer, data, out: export_steps(viewer, out, (0, 4), form="mmidx"),
        "document.idx",
    ),
    "order": (
        lambda viewer, data, out: make_order(data, **ORDER, steps=10, output=out),
        "document_train_0_indexmap_40ns_8sl_1234s_sample_idx.npy",
    ),
    "order, its record": (
        lambda viewer, data, out: make_order(data, **ORDER, steps=10, output=out),
        "order.json",
    ),
    "blend": (
        lambda viewer, data, out: make_blend([data], ["1"], out, **ORDER, steps=10),
        "blend_40ns_8sl_1234s_dataset_index.npy",
    ),
    "blend, an order of it": (
        lambda viewer, data, out: make_blend([data], ["1"], out, **ORDER, steps=10),
        "orders/order.json",
    ),
    "digest": (lambda viewer, data, out: digest(viewer, out), "digests.npy"),
    "digest, its record": (lambda viewer, data, out: digest(viewer, out), "digests.json"),
    "study": (lambda viewer, data, out: table(out / "table.parquet"), "table.parquet"),
}


@pytest.mark.parametrize("writer", list(WRITERS))
def test_a_full_disk_names_the_file_and_is_resumed(
    viewer: BatchViewer, data: Path, tmp_path: Path, writer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, name = WRITERS[writer]
    write(viewer, data, tmp_path / "whole")
    publish, full = atomic.publish, tmp_path / "full"

    def fill(partial: Path, path: Path) -> None:
        if path == full / name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write to an open file does
        publish(partial, path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "publish", fill)
        with pytest.raises(UnfinishedError) as error:
            write(viewer, data, full)
    assert str(error.value).startswith(f"{full / name}: no space left on the disk; make room")
    assert error.value.exit_code == 4
    left = {path.name for path in full.rglob("*") if path.name == LOCK_NAME or path.suffix == ".partial"}
    assert left <= {"digests.partial"}  # the digests that were made
    write(viewer, data, full)
    assert content(full) == content(tmp_path / "whole")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_an_array_that_the_disk_does_not_take_is_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left") as error:
        write_npy(Path("/dev/full"), np.zeros((1 << 16, 2)))
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("shape", [(0,), (0, 2), (3,), (5, 2), (2, 3, 4)])
def test_an_array_has_the_bytes_that_numpy_saves(shape: tuple[int, ...], tmp_path: Path) -> None:
    for dtype in ("u1", "<i4", "<u8"):
        array = np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)
        write_npy(tmp_path / "ours.npy", array)
        np.save(tmp_path / "numpy.npy", array)
        assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "numpy.npy").read_bytes()


def test_digests_that_the_disk_does_not_take_are_gone_on_with(
    viewer: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = digest(viewer, tmp_path / "whole").record
    monkeypatch.setattr("pile_tools.lookups.digests._CHUNK", 2)
    write, writes = UnfinishedRows._write, 0

    class Full:
        """A file whose disk is full."""

        def write(self, rows: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(self: UnfinishedRows, rows: bytes) -> None:
        nonlocal writes
        writes += 1
        file = self._file
        if writes == 4:
            self._file = Full()  # type: ignore[assignment]
        try:
            write(self, rows)
        finally:
            self._file = file

    path = tmp_path / "out" / "digests.partial"
    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedRows, "_write", fill)
        with pytest.raises(UnfinishedError, match=r"digests\.partial: no space left on the disk"):
            digest(viewer, tmp_path / "out")
    begun = path.read_bytes()
    seen: list[int] = []
    summary = digest(viewer, tmp_path / "out", progress=lambda label, done, total: seen.append(done))
    assert (summary.record, summary.existed) == (expected, False)
    assert begun.endswith(np.load(summary.path)[:4].tobytes())
    assert seen[0] == 4
    assert not path.exists()


def test_digests_begun_for_another_stream_are_kept(
    viewer: BatchViewer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stop(label: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest(viewer, out, progress=stop)
    before = content(out)
    other = BatchViewer.open(data, batch_size=2)
    with pytest.raises(
        PileToolsError, match=r"digests\.partial: half-finished by a different job: batch_size 4,"
    ):
        digest(other, out)
    assert content(out) == before
    path = out / "digests.partial"
    for held in (b"mine", b"{}\n", b'{\n  "mine": 1\n}\n'):
        path.write_bytes(held)
        with pytest.raises(
            PileToolsError, match=r"digests\.partial: .*; remove it, or choose another directory"
        ):
            digest(other, out)
        assert path.read_bytes() == held
    header = next(iter(before.values())).partition(b"\n}\n")[0] + b"\n}\n"
    for held in (b"", header[:20], header[:-3], header, header + b"half"):  # killed before its first row
        path.write_bytes(held)
        assert not digest(other, out).existed
        for name in ("digests.npy", "digests.json"):
            (out / name).unlink()


def test_digests_of_which_none_was_made_are_in_nobodys_way(
    viewer: BatchViewer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise PileToolsError("the server does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("pile_tools.stages.digest.digest_steps", fail)
        with pytest.raises(PileToolsError, match="does not answer"):
            digest(viewer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_digests_elsewhere_that_are_finished_need_no_lock(viewer: BatchViewer, tmp_path: Path) -> None:
    digest(viewer, tmp_path / "out")
    with DirectoryLock(tmp_path / "out"):
        assert digest(viewer, tmp_path / "out").existed


def test_a_finished_blend_is_left_and_needs_no_lock(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "blend"
    record = make_blend([data], ["1"], out, **ORDER, steps=10)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with DirectoryLock(out), DirectoryLock(out / "orders"):
        assert make_blend([data], ["1"], out, **ORDER, steps=10) == record
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times
    before = content(out)
    for name in (record.files[1].name, f"orders/{record.parts[0].order}_shuffle_idx.npy"):
        (out / name).unlink()
        assert make_blend([data], ["1"], out, **ORDER, steps=10) == record
        assert content(out) == before


def test_arrays_that_were_damaged_since_are_not_taken_for_done(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "blend"
    record = make_blend([data], ["1"], out, **ORDER, steps=10)
    before = content(out)
    cases = {record.files[1].name: -1, f"orders/{record.parts[0].order}_shuffle_idx.npy": None}
    for name, changed in cases.items():
        held = bytearray(before[name])
        if changed is None:
            del held[-1]
        else:
            held[changed] ^= 1
        (out / name).write_bytes(held)
        with pytest.raises(DataError, match=rf"{Path(name).name}: holds another array .*; remove it"):
            make_blend([data], ["1"], out, **ORDER, steps=10)
        (out / name).unlink()
        make_blend([data], ["1"], out, **ORDER, steps=10)
        assert content(out) == before
    entry = record.files[0]
    edited = replace(record, files=(replace(entry, sha256="0" * 64), record.files[1]))
    (out / "order.json").write_bytes(edited.to_bytes())
    assert make_blend([data], ["1"], out, **ORDER, steps=10) == record
    assert content(out) == before


def test_another_blend_is_refused_before_its_orders_are_made(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "blend"
    make_blend([data], ["1"], out, **ORDER, steps=10)
    before = content(out)
    with pytest.raises(DataError, match=r"order\.json: another order; choose another directory"):
        make_blend([data], ["1"], out, **ORDER, steps=9)
    assert content(out) == before


def test_a_table_killed_at_its_very_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(space: Workspace) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "table.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "discard", kill)
        with pytest.raises(KeyboardInterrupt):
            table(output)
    before = output.read_bytes()
    assert (tmp_path / "table.parquet.unfinished").exists()
    assert not table(output)
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]
    assert output.read_bytes() == before


def test_a_table_that_another_run_wrote_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "table.parquet"
    table(tmp_path / "other.parquet", k=2)
    lock = DirectoryLock.__enter__

    def lock_late(self: DirectoryLock) -> DirectoryLock:
        os.link(tmp_path / "other.parquet", output)
        return lock(self)

    with monkeypatch.context() as patch:
        patch.setattr(DirectoryLock, "__enter__", lock_late)
        with pytest.raises(PileToolsError, match="already there, and of another job"):
            table(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.parquet", "table.parquet"]
    assert output.samefile(tmp_path / "other.parquet")
