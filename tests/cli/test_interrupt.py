"""An interrupt ends a command soon, whatever it is doing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import started

# What a task is doing: a call that answers no signal until it returns, in this process or in two others.
PROGRAM = """
import hashlib, os, sys, time
from pile_tools.stages.dedup import phases as dedup_run
from pile_tools.stages.dedup import workers as dedup_workers
from pile_tools.jobs.executor import Task
from pile_tools_cli.main import run

def compiled(*arguments):
    os.write(1, b"busy\\n")  # in one piece, whatever another process writes
    hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000_000)

def sleeping(*arguments):
    os.write(1, b"busy\\n")  # in one piece, whatever another process writes
    time.sleep(600)

if __name__ == "__main__":
    kind, corpus, output = sys.argv[1:]
    if kind == "processes":
        dedup_run.SMALL_BYTES = dedup_workers.SMALL_BYTES = 0
    dedup_run.sign_shard = compiled if kind == "compiled" else sleeping
    sys.exit(run(["dedup", corpus, "-o", output, "--workers", "2" if kind == "processes" else "1"]))
"""


@pytest.mark.parametrize("kind", ["compiled", "sleeping", "processes"])
@pytest.mark.slow
@pytest.mark.serial
def test_interrupt_ends_a_command(kind: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "corpus").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "corpus" / name).write_text('{"text": "one two"}\n')
    program = [str(tmp_path / name) for name in ("program.py", "corpus", "out")]
    command = [sys.executable, program[0], kind, *program[1:]]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        # Two seconds are promised: the rest is for a machine that is busy.
        _, error = process.communicate(timeout=6)
    assert process.returncode == 130
    assert error == "pile-tools: interrupted\n"
    assert not (tmp_path / "out" / "manifest.json").exists()
