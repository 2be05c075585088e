"""A deduplication that is stopped, starved or fed damaged files: nothing is lost and nothing is made up."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats import atomic
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.npy import NpyWriter
from pile_tools.stages import dedup as module
from pile_tools.stages import dedup_run
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.workspace import InputFile, Workspace
from tests.processes import started
from tests.stages.test_dedup import all_files, planted, record, write_corpus, write_zst

ROOT = Path(__file__).parents[2]
JOB = resolve_job(save_signatures=True, on_bad_record="skip")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("faults") / "corpus", planted(5, 30))


@pytest.fixture(scope="module")
def expected(corpus: Path) -> dict[str, bytes]:
    dedup([corpus], corpus.parent / "whole", JOB, workers=1)
    return all_files(corpus.parent / "whole")


class Stop:
    """A progress function that interrupts the run at its ``calls``-th call."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, label: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class StopAt:
    """A progress function that interrupts the run at the end of a phase."""

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def __call__(self, label: str, done: int, total: int) -> None:
        if label == self.phase and done == total:
            raise KeyboardInterrupt


@pytest.mark.slow
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
import pile_tools.formats.atomic as atomic
import pile_tools.stages.dedup as module
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job

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


@pytest.mark.slow
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
    monkeypatch.setattr("pile_tools.stages.dedup_run.SMALL_BYTES", 0)
    monkeypatch.setattr("pile_tools.stages.dedup_run.sign_shard", no_room)
    with pytest.raises(UnfinishedError, match="no space left"):
        dedup([corpus], tmp_path / "out", JOB, workers=2)


def test_another_job_or_changed_input_is_refused(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        dedup([copy], tmp_path / "out", JOB, workers=1, progress=Stop(8))
    other = resolve_job(save_signatures=True, on_bad_record="skip", keep="last")
    with pytest.raises(PileToolsError, match=r"half-finished.*keep 'first', now 'last'"):
        dedup([copy], tmp_path / "out", other, workers=1)
    other = resolve_job(save_signatures=True, on_bad_record="error")
    with pytest.raises(PileToolsError, match=r"half-finished.*on_bad_record 'skip', now 'error'"):
        dedup([copy], tmp_path / "out", other, workers=1)
    with pytest.raises(KeyboardInterrupt):
        dedup([copy], tmp_path / "out", JOB, workers=1, progress=StopAt("group"))
    write_zst(copy / "1.jsonl.zst", [record("something else")])
    with pytest.raises(PileToolsError, match=r"half-finished.*1\.jsonl\.zst"):
        dedup([copy], tmp_path / "out", JOB, workers=1)


def test_after_a_bad_record_the_shards_that_were_signed_are_kept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    good = [record(text) for text in planted(9, 10)]
    write_zst(copy / "3.jsonl.zst", [*good, b"{oops\n"])
    signed: list[str] = []
    sign_shard = dedup_run.sign_shard

    def sign(shard: Any, *arguments: Any) -> None:
        signed.append(shard.name)
        sign_shard(shard, *arguments)

    monkeypatch.setattr(dedup_run, "sign_shard", sign)
    job = resolve_job(save_signatures=True)
    for out in ("skipped", "mended"):
        with pytest.raises(DataError, match=r"3\.jsonl\.zst:.* mend the record, or pass over"):
            dedup([copy], tmp_path / out, job, workers=1)
    signed.clear()
    dedup([copy], tmp_path / "skipped", JOB, workers=1)
    assert signed == ["3.jsonl.zst"]
    dedup([copy], tmp_path / "whole-skipped", JOB, workers=1)
    assert all_files(tmp_path / "skipped") == all_files(tmp_path / "whole-skipped")
    signed.clear()
    # Mended, and another one that had been signed already is changed too.
    write_zst(copy / "3.jsonl.zst", good)
    write_zst(copy / "1.jsonl.zst", [*good, record("one more, that is unlike all others")])
    dedup([copy], tmp_path / "mended", job, workers=1)
    assert signed == ["1.jsonl.zst", "3.jsonl.zst"]
    dedup([copy], tmp_path / "whole-mended", job, workers=1)
    assert all_files(tmp_path / "mended") == all_files(tmp_path / "whole-mended")


@pytest.mark.parametrize(("place", "name"), [("__version__", "pile-tools"), ("UNICODE_VERSION", "unicode")])
def test_another_version_is_refused(
    place: str, name: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        dedup([corpus], tmp_path / "out", JOB, workers=1, progress=Stop(8))
    monkeypatch.setattr(module, place, "0.0.1")
    with pytest.raises(PileToolsError, match=rf"half-finished.*versions: {name} .*now '0\.0\.1'"):
        dedup([corpus], tmp_path / "out", JOB, workers=1)
    monkeypatch.undo()
    dedup([corpus], tmp_path / "out", JOB, workers=1)
    monkeypatch.setattr(module, place, "0.0.1")
    finished = dedup([corpus], tmp_path / "out", JOB, workers=1)
    assert finished.versions[name] != "0.0.1"


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


def test_a_shard_that_cannot_be_read(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.name == "1.jsonl.zst":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return opened(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError, match=r"1\.jsonl\.zst"):
            dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert dedup([corpus], tmp_path / "out", resolve_job(), workers=1).counts["kept"] > 0


def test_documents_that_are_neither_kept_nor_removed(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = module.count_everything

    def lose_one(*arguments: Any) -> dict[str, Any]:
        counts = count(*arguments)
        return counts | {"kept": counts["kept"] - 1}

    monkeypatch.setattr(module, "count_everything", lose_one)
    with pytest.raises(PileToolsError, match="documents in, but"):
        dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


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


# Runs a deduplication in a fork for each pair of its arguments, input and output.
MEASURE = r"""
import os, re, sys
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
job = resolve_job(max_document_bytes=1 << 20)
for source, output in zip(sys.argv[1::2], sys.argv[2::2]):
    if os.fork() == 0:
        manifest = dedup([source], output, job, workers=1)
        # Not ru_maxrss, which begins with what the parent held.
        peak = re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]
        print(manifest.counts["oversized_records"], peak, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
@pytest.mark.slow
def test_a_line_of_any_length_is_passed_through_in_bounded_memory(suffix: str, tmp_path: Path) -> None:
    whole: dict[str, list[bytes]] = {}
    paths: list[str] = []
    for name, size in (("small", 2 << 20), ("large", 96 << 20)):
        lines = [record("one two three"), json.dumps({"text": "word " * (size // 5)}).encode() + b"\n"]
        source = tmp_path / name / f"in{suffix}"
        source.parent.mkdir()
        if suffix == ".jsonl":
            source.write_bytes(b"".join(lines))
        else:
            write_zst(source, lines)
        whole[name] = lines
        paths += [str(source), str(tmp_path / f"{name}-out")]
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", MEASURE, *paths]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    oversized, peaks = zip(*(map(int, line.split()) for line in run.stdout.splitlines()), strict=True)
    assert oversized == (1, 1)
    if suffix == ".jsonl":
        for name, lines in whole.items():
            assert (tmp_path / f"{name}-out" / "in.jsonl").read_bytes() == b"".join(lines)
    assert peaks[1] - peaks[0] < 72 << 10  # KiB; the line has 96 MiB
