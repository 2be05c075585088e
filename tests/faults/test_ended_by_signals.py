"""Commands that a signal ends: the exit code says which, and nothing is left half done."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from pile_tools_cli import interrupt, main
from pile_tools_cli.train import _stop_signals

from tests.processes import started

ENDS = [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
    (signal.SIGHUP, 129, "hung up"),
]


@contextmanager
def handled(number: signal.Signals, handler: "signal._HANDLER") -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def default(number: signal.Signals) -> "signal._HANDLER":
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


@pytest.fixture
def run_command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], int]:
    """Run a function as the command line runs a command; a forced end of the process is an error."""

    def refuse(code: int) -> None:
        raise AssertionError(f"the process was ended by force with {code}")

    def run(function: Callable[[], None]) -> int:
        monkeypatch.setattr(interrupt.os, "_exit", refuse)
        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: click.command()(function))
        return main.run(["order"])

    return run


@pytest.mark.parametrize(("number", "code", "word"), ENDS)
def test_the_exit_code_says_which_signal_it_was(
    number: signal.Signals,
    code: int,
    word: str,
    run_command: Callable[[Callable[[], None]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cleaned = []

    def command() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(10)
        finally:
            cleaned.append(True)

    with handled(number, default(number)):
        assert run_command(command) == code
        assert signal.getsignal(number) is default(number)
    assert cleaned == [True]
    assert capsys.readouterr().err == f"pile-tools: {word}\n"


@pytest.mark.parametrize("number", [number for number, _, _ in ENDS])
def test_the_handler_of_the_program_around_a_command_stays(
    number: signal.Signals, run_command: Callable[[Callable[[], None]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "SECONDS", 0.01)
    answered = []

    def command() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.1)  # longer than a command has to end once a signal ends it

    with handled(number, lambda *_: answered.append(number)):
        assert run_command(command) == 0
    assert answered == [number]


@pytest.mark.parametrize(("number", "code", "word"), ENDS)
def test_training_has_the_time_that_its_checkpoint_takes(
    number: signal.Signals,
    code: int,
    word: str,
    run_command: Callable[[Callable[[], None]], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupt, "SECONDS", 0.01)
    written = []

    def command() -> None:
        with _stop_signals() as should_stop:
            os.kill(os.getpid(), number)
            time.sleep(0.1)  # the step under way, and the checkpoint
            assert should_stop()
            written.append("checkpoint")
        raise interrupt.Ended(should_stop.number or signal.SIGINT)

    with handled(number, default(number)):
        assert run_command(command) == code
    assert written == ["checkpoint"]


def test_a_second_interrupt_ends_training_at_once(run_command: Callable[[Callable[[], None]], int]) -> None:
    reached = []

    def command() -> None:
        with _stop_signals():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("the first")
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
            reached.append("the second")

    with handled(signal.SIGINT, signal.default_int_handler):
        assert run_command(command) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert reached == ["the first"]


# A call that answers no signal until it returns, one that does, or two of the latter in other processes.
PROGRAM = """
import click, hashlib, os, pathlib, sys, time
from pile_tools.jobs.executor import Task, run_tasks
from pile_tools_cli import main

def sleep():
    os.write(1, b"busy\\n")  # in one piece, whatever another process writes
    time.sleep(600)

@click.command()
def command():
    if sys.argv[1] == "compiled":
        os.write(1, b"busy\\n")
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_000_000_000)
    if sys.argv[1] == "processes":
        run_tasks([Task(name, sleep, (), (pathlib.Path("absent"),)) for name in "ab"], workers=2)
    sleep()

if __name__ == "__main__":
    main.LazyGroup.get_command = lambda *_: command
    sys.exit(main.run(["order"]))
"""


@pytest.mark.parametrize(
    ("kind", "number", "code", "word"),
    [("compiled", *ENDS[1]), ("processes", *ENDS[1]), ("processes", *ENDS[2])],
)
@pytest.mark.slow
@pytest.mark.serial
def test_a_signal_to_all_processes_of_a_command(
    kind: str, number: signal.Signals, code: int, word: str, tmp_path: Path
) -> None:
    """As a batch system and a closed terminal send it."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), kind]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(2 if kind == "processes" else 1):
            assert process.stdout.readline() == "busy\n"
        os.killpg(process.pid, number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error == f"pile-tools: {word}\n"


@pytest.mark.slow
@pytest.mark.serial
def test_a_terminal_that_is_closed_ends_a_command_in_order(tmp_path: Path) -> None:
    """What the command says then can be written nowhere, and must not change how it ends."""
    (tmp_path / "program.py").write_text(PROGRAM)
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, str(tmp_path / "program.py"), "sleeping"])
    try:
        assert os.read(terminal, 100).strip() == b"busy"
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
