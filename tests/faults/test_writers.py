"""Partial files, locks of directories, outputs that replace nothing: what two runs at once must not break."""

import errno
import fcntl
import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats import atomic, free_space, locks
from pile_tools.formats.atomic import atomic_write, sweep_partials
from pile_tools.formats.block_cache import BlockCache
from pile_tools.formats.locks import LOCK_NAME, DirectoryLock
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest, file_entry
from pile_tools.stages.blend import make_blend
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.viewer.fetch import fetch_steps
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


def partials(directory: Path) -> list[Path]:
    return list(directory.rglob("*.partial"))


def test_a_link_under_the_name_that_a_partial_file_had_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"mine")
    for name in (f"out.{os.getpid()}.partial", "out.partial"):
        (tmp_path / name).symlink_to(other)
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
    assert other.read_bytes() == b"mine"
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_link_under_the_very_name_of_the_partial_file_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = iter(["0" * 16, "0" * 16, "1" * 16])
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: next(tokens))
    other = tmp_path / "other"
    (tmp_path / f"out.{'0' * 16}.partial").symlink_to(other)
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
    assert not other.exists()
    assert (tmp_path / "out").read_bytes() == b"new"


def test_two_writers_of_one_name_and_process_number_publish_their_own_bytes(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with atomic_write(target) as first:
        first.write(b"first" * 1000)
        first.flush()
        with atomic_write(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first" * 1000
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_of_the_longest_name_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127 + "x")
    with atomic_write(target) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [target]


def test_blocks_of_a_shared_cache_follow_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "publish", lambda *_: pytest.fail("a block of a cache needs no flush"))
    cache = BlockCache(tmp_path)
    cache.put("abcd", 0, b"block")
    assert cache.get("abcd", 0, 5) == b"block"
    assert not partials(tmp_path)


def test_a_sweep_removes_strays_and_leaves_what_is_being_written_or_is_not_ours(tmp_path: Path) -> None:
    stray, foreign = tmp_path / f"a.{'0' * 16}.partial", tmp_path / "download.2024.partial"
    stray.write_bytes(b"half")
    foreign.write_bytes(b"mine")
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
        sweep_partials(tmp_path, own=False)
        assert not stray.exists()
        assert foreign.exists()
        sweep_partials(tmp_path, own=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_partial_file_that_a_sweep_took_before_it_was_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def lock_after_a_sweep(descriptor: int) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            for path in partials(tmp_path):
                path.unlink()
        return locks.try_lock(descriptor)

    monkeypatch.setattr(atomic, "try_lock", lock_after_a_sweep)
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
    assert calls == 2
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_lock_leaves_nothing_behind(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b" / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []
    with DirectoryLock(tmp_path):
        (tmp_path / "made").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_lock_file_that_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    with DirectoryLock(tmp_path), pytest.raises(PileToolsError, match="another run is at work in it"):
        DirectoryLock(tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def lock_what_is_gone(descriptor: int) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            (tmp_path / LOCK_NAME).unlink()
        return True

    monkeypatch.setattr(locks, "try_lock", lock_what_is_gone)
    with DirectoryLock(tmp_path):
        assert (tmp_path / LOCK_NAME).exists()
    assert calls == 2


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(PileToolsError, match="its file system has no file locks") as error:
        DirectoryLock(tmp_path / "out").__enter__()
    assert "another run" not in str(error.value)
    with atomic_write(tmp_path / "file") as file:  # which needs no lock
        file.write(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file", "out"][: 1 + (tmp_path / "out").exists()]


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN])
def test_only_a_held_lock_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(PileToolsError, match="another run is at work in it"):
        DirectoryLock(tmp_path).__enter__()


def test_any_other_error_of_a_lock_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        DirectoryLock(tmp_path).__enter__()


def test_every_writer_into_a_directory_respects_its_lock(viewer: BatchViewer, data: Path) -> None:
    busy = data.parent / "busy"
    writers: list[Callable[[], object]] = [
        lambda: make_order(data, **ORDER, steps=3, seed=5, output=busy),
        lambda: make_blend([data], ["1"], busy, **ORDER, steps=3),
        lambda: viewer.make_digests(busy),
        lambda: fetch_steps(viewer, 0, 2, busy),
        lambda: recut(data, busy, shard_bytes=64),
    ]
    with DirectoryLock(busy):
        for write in writers:
            with pytest.raises(PileToolsError, match="another run is at work in it"):
                write()
    assert not any(path.name in ("order.json", MANIFEST_NAME) for path in busy.glob("*"))


def _order(data: Path, seed: int, start: Any) -> None:
    start.wait()
    while True:
        try:
            make_order(data, **ORDER, steps=10, seed=seed)
        except PileToolsError as error:
            if "another run is at work" not in str(error):
                raise
        else:
            return


def test_orders_made_at_once_keep_every_record(data: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Event()
    seeds = [1, 2, 1, 2]
    processes = [context.Process(target=_order, args=(data, seed, start)) for seed in seeds]
    for process in processes:
        process.start()
    start.set()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    records = [json.loads(path.read_bytes()) for path in data.glob("*order.json")]
    assert sorted(record["seed"] for record in records) == [1, 2]
    assert not [path for path in data.iterdir() if path.name == LOCK_NAME or path.suffix == ".partial"]


def test_a_finished_order_needs_no_lock(data: Path) -> None:
    make_order(data, **ORDER, steps=10)
    with DirectoryLock(data):
        assert make_order(data, **ORDER, steps=10).existed


def test_a_lock_file_left_in_a_finished_directory_is_removed_when_all_is_found_done(
    viewer: BatchViewer, data: Path, tmp_path: Path
) -> None:
    runs: list[tuple[Path, Callable[[], object]]] = [
        (data, lambda: make_order(data, **ORDER, steps=10)),
        (data, viewer.make_digests),
        (tmp_path / "steps", lambda: fetch_steps(viewer, 0, 2, tmp_path / "steps")),
        (tmp_path / "shards", lambda: recut(data, tmp_path / "shards", shard_bytes=64)),
    ]
    for directory, write in runs:
        write()
        (directory / LOCK_NAME).touch()
        write()
        assert not (directory / LOCK_NAME).exists()


def test_digests_of_an_order_that_was_the_first_once_replace_no_other_record(data: Path) -> None:
    make_order(data, **ORDER, steps=10, seed=1)
    BatchViewer.open(data).make_digests()
    label = json.loads((data / "order.json").read_bytes())["label"]
    (data / "order.json").rename(data / f"{label}_order.json")
    other = make_order(data, **ORDER, steps=10, seed=2).record
    assert (data / "order.json").read_bytes() == other.to_bytes()
    record = json.loads((data / f"{label}_order.json").read_bytes())
    del record["digests"]
    (data / f"{label}_order.json").write_bytes(json.dumps(record, sort_keys=True, indent=2).encode() + b"\n")
    root = BatchViewer.open(data, order=label).make_digests().record.root
    assert (data / "order.json").read_bytes() == other.to_bytes()
    assert json.loads((data / f"{label}_order.json").read_bytes())["digests"] == root


def test_digests_do_not_replace_a_file_that_a_manifest_lists(viewer: BatchViewer, tmp_path: Path) -> None:
    checkpoint = tmp_path / "step4"
    checkpoint.mkdir()
    (checkpoint / "digests.npy").write_bytes(b"the checkpoint's own")
    Manifest("train", {}, [], [file_entry(checkpoint / "digests.npy")]).write(checkpoint)
    before = content(checkpoint)
    with pytest.raises(PileToolsError, match=r"digests\.npy: exists already, listed in .*manifest\.json"):
        viewer.make_digests(checkpoint)
    assert content(checkpoint) == before


@pytest.mark.parametrize("state", ["gone", "cut"])
def test_finished_steps_without_their_data_are_not_done(
    viewer: BatchViewer, tmp_path: Path, state: str
) -> None:
    out = tmp_path / "steps"
    fetch_steps(viewer, 2, 4, out)
    path = out / "document.bin"
    if state == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"document\.bin: changed or missing .* remove the directory"):
        fetch_steps(viewer, 2, 4, out)


def test_a_fetch_beside_another_one(viewer: BatchViewer, tmp_path: Path) -> None:
    reached: list[str] = []

    def progress(label: str, done: int, total: int) -> None:
        if not reached:
            reached.append(label)
            with pytest.raises(PileToolsError, match="another run is at work in it"):
                fetch_steps(viewer, 2, 4, tmp_path / "steps")

    fetch_steps(viewer, 2, 4, tmp_path / "steps", progress)
    assert reached
    np.testing.assert_array_equal(BatchViewer.open(tmp_path / "steps").batch(3), viewer.batch(3))
    assert LOCK_NAME not in {path.name for path in (tmp_path / "steps").iterdir()}


def test_a_fetch_that_failed_before_its_first_step_does_not_refuse_other_steps(
    viewer: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: BatchViewer, step: int) -> None:
        raise PileToolsError("the server does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(BatchViewer, "batch", fail)
        with pytest.raises(PileToolsError, match="does not answer"):
            fetch_steps(viewer, 0, 4, tmp_path / "steps")
    fetch_steps(viewer, 1, 2, tmp_path / "steps")


def test_a_fetch_into_the_unfinished_directory_of_a_stage_leaves_it_alone(
    viewer: BatchViewer, tmp_path: Path
) -> None:
    work = tmp_path / "kept" / ".unfinished"
    work.mkdir(parents=True)
    (work / "job.json").write_text("{}")
    (work / "signatures.npy").write_bytes(b"hours of work")
    before = content(tmp_path / "kept")
    with pytest.raises(PileToolsError, match="choose another directory"):
        fetch_steps(viewer, 0, 4, tmp_path / "kept")
    assert content(tmp_path / "kept") == before


@pytest.fixture
def listed(viewer: BatchViewer, tmp_path: Path) -> Path:
    """A finished directory, whose manifest and records list files."""
    fetch_steps(viewer, 2, 4, tmp_path / "steps")
    return tmp_path / "steps"


def refused(output: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = ["batch", "--data", str(data), "--step", "2", "--format", "npy", "-o", str(output)]
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("name", ["manifest.json", "order.json", "document.bin", "pieces.npy"])
@pytest.mark.parametrize("spelling", ["plain", "dots", "link", "hard link", "linked directory"])
def test_no_output_replaces_a_file_of_a_finished_directory(
    listed: Path, data: Path, name: str, spelling: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = listed / name
    if spelling == "dots":
        path = listed / ".." / listed.name / "." / name
    elif spelling == "link":
        path = listed.parent / "link"
        path.symlink_to(listed / name)
    elif spelling == "hard link":
        path = listed.parent / "hard"
        path.hardlink_to(listed / name)
    elif spelling == "linked directory":
        (listed.parent / "there").symlink_to(listed)
        path = listed.parent / "there" / name
    before = content(listed)
    assert "exists already" in refused(path, data, capsys)
    assert content(listed) == before


def test_no_output_takes_the_place_of_a_listed_file_that_is_gone(
    listed: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed / "document.bin").unlink()
    (listed.parent / "link").symlink_to(listed / "document.bin")
    for path in (listed / "document.bin", listed.parent / "link"):
        assert "listed in" in refused(path, data, capsys)
    assert not (listed / "document.bin").exists()


def test_an_output_goes_where_nothing_was_and_into_pipes(listed: Path, data: Path) -> None:
    arguments = ["batch", "--data", str(data), "--step", "2", "--format", "npy", "-o"]
    for path in (listed / "step2.npy", Path("/dev/null")):
        assert run([*arguments, str(path)]) == 0
    np.testing.assert_array_equal(np.load(listed / "step2.npy"), BatchViewer.open(data).batch(2))


def test_no_table_or_picture_replaces_an_input_or_a_listed_file(
    listed: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, picture = listed / "documents-0.parquet", tmp_path / "loss.png"
    table.write_bytes(b"PAR1")
    picture.hardlink_to(data / "document.bin")
    terms = tmp_path / "terms.parquet"
    terms.write_text("one\n")
    before = content(data)
    count = ["count", "--data", str(data), "--terms", str(terms)]
    for arguments in (
        [*count, "-o", str(table)],
        [*count, "-o", str(terms)],
        [*count, "--plot", str(picture)],
        ["mixture", "--data", str(data), "--plot", str(picture)],
        ["memorize-report", str(table), "--plot", str(picture)],
        ["arithmetic", "model", "-o", str(terms)],
        ["export", "--data", str(data), "--format", "parquet", "-o", str(terms)],
    ):
        assert run(arguments) == 1
        assert "exists already" in capsys.readouterr().err
    assert content(data) == before
    assert terms.read_text() == "one\n"


def test_an_order_that_does_not_fit_is_refused_before_it_is_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_space, "free_bytes", lambda directory: 100)
    with pytest.raises(
        UnfinishedError, match=r"out: [\d,]+ bytes are to be written, but 100 are free"
    ) as error:
        make_order(data, **ORDER, steps=10, output=tmp_path / "out")
    assert error.value.exit_code == 4
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert not make_order(data, **ORDER, steps=10, output=tmp_path / "out").existed


def test_room_for_exactly_the_bytes_of_an_order_is_enough(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_order(data, **ORDER, steps=10, output=tmp_path / "first")
    total = sum(entry.bytes for entry in made.record.files)
    monkeypatch.setattr(free_space, "free_bytes", lambda directory: total)
    make_order(data, **ORDER, steps=10, output=tmp_path / "second")


def test_steps_and_copies_that_do_not_fit_are_refused_and_fetched_when_there_is_room(
    viewer: BatchViewer, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_space, "free_bytes", lambda directory: 100)
    monkeypatch.setattr("pile_tools.stages.recut.shares_blocks", lambda source, directory: False)
    makers: list[Callable[[], object]] = [
        lambda: fetch_steps(viewer, 0, 4, tmp_path / "steps"),
        lambda: recut(data, tmp_path / "shards", shard_bytes=64),
    ]
    for make in makers:
        with pytest.raises(UnfinishedError, match=r"bytes are to be written, but 100 are free"):
            make()
    assert not (tmp_path / "steps").exists()
    assert not (tmp_path / "shards").exists()
    monkeypatch.undo()
    for make in makers:
        make()
    assert BatchViewer.open(tmp_path / "steps").steps == 4


@pytest.mark.parametrize(("free", "warned"), [(10, True), (1 << 30, False)])
def test_a_corpus_that_may_not_fit_is_a_warning_and_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, warned: bool
) -> None:
    shard = tmp_path / "in.jsonl"
    shard.write_text('{"text": "one two three"}\n' * 1000)
    monkeypatch.setattr(free_space, "free_bytes", lambda directory: free)
    lines: list[str] = []
    dedup([shard], tmp_path / "kept", resolve_job(exact=True), workers=1, warn=lines.append)
    assert (tmp_path / "kept" / MANIFEST_NAME).is_file()
    assert ["an estimated" in line and "but 10 are free" in line for line in lines] == [True] * warned


def test_a_full_disk_can_be_resumed_by_every_holder_of_a_lock(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match="make room"), DirectoryLock(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")


@pytest.mark.parametrize("arguments", [["--help"], ["batch", "--step", "0"], []])
def test_a_system_without_file_locks_is_told_in_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fcntl", None)
    assert run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "file locks" in captured.err
