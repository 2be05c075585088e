"""The phases of a deduplication: stopped, killed or out of space, they end with the same bytes."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pile_tools.errors import UnfinishedError
from pile_tools.formats.npy import NpyWriter
from pile_tools.jobs.workspace import Workspace
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.storage import atomic
from pile_tools.storage.manifest import Manifest
from tests.processes import started
from tests.stages.dedup.corpora import JOB, Stop, all_files, planted, write_corpus

ROOT = Path(__file__).parents[3]


def test_stopped_anywhere_it_resumes_to_the_same_bytes(corpus: Path, expected: dict[str, bytes]) -> None:
    for calls in range(1, 1000, 7):
        out = corpus.parent / f"stopped{calls}"
        try:
            dedup([corpus], out, JOB, workers=1, progress=Stop(calls))
            break
        except KeyboardInterrupt:
            dedup([corpus], out, JOB, workers=1)
        assert all_files(out) == expected
    assert calls > 40


def test_stopped_again_and_again_with_other_settings(corpus: Path, expected: dict[str, bytes]) -> None:
    out = corpus.parent / "again"
    for memory in [1 << 30, 2 << 30] * 50:
        try:
            # Three calls for the phases that were done, one for each task that is new.
            dedup([corpus], out, JOB, workers=1, memory=memory, progress=Stop(25))
            break
        except KeyboardInterrupt:
            continue
    assert all_files(out) == expected


@pytest.mark.parametrize("name", ["0.jsonl.zst", "signatures/2.jsonl.zst.values.npy", "dedup.parquet"])
@pytest.mark.parametrize("cut", [False, True])
def test_an_output_that_is_gone_is_written_again(
    name: str,
    cut: bool,
    corpus: Path,
    expected: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = corpus.parent / f"gone-{Path(name).name}-{cut}"

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            dedup([corpus], out, JOB, workers=1)
    if cut:
        os.truncate(out / name, 5)
    else:
        (out / name).unlink()
    dedup([corpus], out, JOB, workers=1)
    assert all_files(out) == expected


def command(corpus: Path, out: Path) -> list[str]:
    program = "from pile_tools_cli.main import main; main()"
    arguments = ["dedup", str(corpus), "-o", str(out), "--save-signatures", "--on-bad-record", "skip"]
    return [sys.executable, "-c", program, *arguments, "--workers", "2"]


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.slow
@pytest.mark.serial
def test_killed_for_real(kind: signal.Signals, tmp_path: Path) -> None:
    # Large enough for worker processes, and for a moment in which work is under way.
    corpus = write_corpus(tmp_path / "corpus", planted(6, 40, length=30_000), shards=4)
    out = tmp_path / "out"
    with started(command(corpus, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (out / ".unfinished" / "sign").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(kind)
        _, printed = process.communicate()
    assert process.returncode == (130 if kind == signal.SIGINT else -signal.SIGKILL)
    if kind == signal.SIGINT:
        assert printed == b"pile-tools: interrupted\n"
    assert not (out / "manifest.json").exists()
    dedup([corpus], out, JOB, workers=1)
    dedup([corpus], tmp_path / "whole", JOB, workers=1)
    assert all_files(out) == all_files(tmp_path / "whole")


# Runs a deduplication, and then one in a fork for each line of its input, "output memory files when", killing
# that fork around the publication of so many files.
KILLER = """
import os, signal, sys
import pile_tools.storage.atomic as atomic
import pile_tools.stages.dedup.dedup as module
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job

# Work so small that memory decides into how many ranges it is cut.
module._PROCESS_BYTES, module._LEAST_MEMORY, module._LEAST_BUDGET = 1000, 2000, 2000
os.fsync = lambda descriptor: None
corpus, whole = sys.argv[1:]
job = resolve_job(save_signatures=True, on_bad_record="skip")
publish, published = atomic.publish, 0
files, when = 0, ""

def count_and_die(partial, path):
    global published
    published += 1
    if published == files and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    publish(partial, path)
    if published == files:
        os.kill(os.getpid(), signal.SIGKILL)

atomic.publish = count_and_die
dedup([corpus], whole, job, workers=1)
total, published = published, 0
for line in sys.stdin:
    output, memory, at, when = line.split()
    files = round(float(at) * total)
    child = os.fork()
    if child == 0:
        dedup([corpus], output, job, workers=1, memory=int(memory))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_file_and_started_again_with_other_memory(corpus: Path, tmp_path: Path) -> None:
    # Each run: directory, memory, the share of all files after which it is killed, before or after the last.
    runs: list[tuple[str, int, float, str]] = []
    moments = (0.005, 0.03, 0.06, 0.12, 0.2, 0.35, 0.6, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 1.0)
    for i, moment in enumerate(moments):
        when = ("before", "after")[i % 2]
        # Memory for two ranges of keys, or one: the second run has other, and of some is killed again.
        memory = (1 << 30, 15_000)[i % 4 // 2]
        runs.append((f"out{i}", memory, moment, when))
        runs.append((f"out{i}", 15_000 if memory > 15_000 else 1 << 30, 0.1 if i % 3 == 0 else 0, "before"))
        runs.append((f"out{i}", 1 << 30, 0, "never"))
    process = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            KILLER,
            str(corpus),
            str(tmp_path / "whole"),
        ],
        input="".join(f"{tmp_path / name} {memory} {at} {when}\n" for name, memory, at, when in runs),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert process.stderr == ""
    codes = [int(line) for line in process.stdout.split()]
    # Every one of the first kills happened, and every last run came to its end.
    assert codes[0::3] == [-signal.SIGKILL] * len(moments)
    assert codes[2::3] == [0] * len(moments)
    expected = all_files(tmp_path / "whole")
    assert Manifest.read(tmp_path / "whole").counts["removed"] > 10
    for i in range(len(moments)):
        assert all_files(tmp_path / f"out{i}") == expected


def test_full_disk_can_be_resumed(
    corpus: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = corpus.parent / "full"
    append, left = NpyWriter.append, 12

    def full(self: NpyWriter, rows: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(NpyWriter, "append", full)
    with pytest.raises(UnfinishedError, match="no space left"):
        dedup([corpus], out, JOB, workers=1)
    monkeypatch.undo()
    assert not list(out.rglob("*.partial"))
    dedup([corpus], out, JOB, workers=1)
    assert all_files(out) == expected


def test_a_full_disk(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, done, room = atomic.publish, 0, 1 << 30

    def publish_while_there_is_room(partial: Path, path: Path) -> None:
        nonlocal done
        if done == room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        publish(partial, path)
        done += 1

    monkeypatch.setattr(atomic, "publish", publish_while_there_is_room)
    dedup([corpus], tmp_path / "whole", JOB, workers=1)
    total = done
    # A disk on which one file more has room each time, in steps.
    for i, room in enumerate([0, 1, 4, 14, 20, 60, total - 9, total - 5, total - 2, total - 1]):  # noqa: B007
        done = 0
        with pytest.raises(UnfinishedError, match=r"no space left .* to resume") as error:
            dedup([corpus], tmp_path / f"out{i}", JOB, workers=1)
        assert error.value.exit_code == 4
        assert not list(tmp_path.rglob("*.partial"))
        done = -total
        dedup([corpus], tmp_path / f"out{i}", JOB, workers=1)
        assert all_files(tmp_path / f"out{i}") == all_files(tmp_path / "whole")


def no_room(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a file")


def test_a_disk_that_is_full_for_a_worker(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pile_tools.stages.dedup.phases.SMALL_BYTES", 0)
    monkeypatch.setattr("pile_tools.stages.dedup.phases.sign_shard", no_room)
    with pytest.raises(UnfinishedError, match="no space left"):
        dedup([corpus], tmp_path / "out", JOB, workers=2)
