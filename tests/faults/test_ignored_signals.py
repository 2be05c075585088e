"""Signals that a process was started to ignore, as by `nohup` and by many CI runners."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from pile_tools_cli import interrupt, main
from pile_tools_cli.train import _stop_signals

from pile_tools.errors import DataError
from pile_tools.jobs.executor import Task, TaskPool
from tests.processes import started

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def ignored(*numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_goes_on(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "SECONDS", 0.01)

    @click.command()
    def command() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.1)  # longer than a command has to end once it is interrupted

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)
    with ignored(number):
        assert main.run(["order"]) == 0


@pytest.mark.parametrize("number", SIGNALS[:2])
def test_training_goes_on(number: signal.Signals) -> None:
    with ignored(number):
        with _stop_signals() as should_stop:
            os.kill(os.getpid(), number)
            assert not should_stop()
        assert signal.getsignal(number) is signal.SIG_IGN
    before = signal.getsignal(number)
    with _stop_signals() as should_stop:
        os.kill(os.getpid(), number)
        assert should_stop()
    assert signal.getsignal(number) is before


def fail_when_there_is(other: Path, mine: Path) -> None:
    while not other.exists():
        time.sleep(0.01)
    raise DataError("this task fails")


def work_long(started_: Path, done: Path) -> None:
    started_.touch()
    time.sleep(30)
    done.touch()


@pytest.mark.serial
def test_the_workers_of_a_failed_stage_end(tmp_path: Path) -> None:
    begun, done = tmp_path / "begun", tmp_path / "done"
    tasks = [
        Task("failing", fail_when_there_is, (begun, tmp_path / "never"), (tmp_path / "never",)),
        Task("long", work_long, (begun, done), (done,)),
    ]
    with ignored(signal.SIGTERM), pytest.raises(DataError, match="this task fails"), TaskPool(2) as pool:
        pool.run(tasks)
    assert begun.exists()
    assert not done.exists()


@pytest.mark.serial
def test_children_of_tests_answer_signals_and_end_with_their_test(tmp_path: Path) -> None:
    """Whether or not the tests themselves were started with signals ignored."""
    ask = "import signal; print([signal.getsignal(n) is signal.SIG_IGN for n in (1, 2, 15)])"
    run = subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True, text=True, check=True)
    assert run.stdout == "[False, False, False]\n"
    children: list[int] = []

    def fail() -> None:
        with started(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            children.extend((process.pid, int(process.stdout.readline())))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(ChildProcessError):  # it has been waited for
        os.waitpid(children[0], 0)
    child = children[1]
    status = Path(f"/proc/{child}/status")
    while status.exists() and "State:\tZ" not in status.read_text():
        time.sleep(0.01)
