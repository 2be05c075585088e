"""Worker processes that need nothing of the program that starts them.

`multiprocessing` has a spawned process run the main script once more, so that functions defined there can be
called. A script without ``if __name__ == "__main__"`` would then begin its own work again in every worker,
and one that is read from standard input is nowhere to be run from. Ours call functions of modules only.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.popen_spawn_posix import Popen
    from multiprocessing.process import BaseProcess

__all__ = ["SpawnWithoutMain", "start_tracker", "undisturbed"]

_lock = threading.Lock()


@contextmanager
def _empty_main() -> Iterator[None]:
    """Have a main module that comes from nowhere, as nothing else tells `multiprocessing` to leave it."""
    with _lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: "BaseProcess") -> "Popen":
        with _empty_main():
            return SpawnProcess._Popen(process_obj)


class SpawnWithoutMain(SpawnContext):
    """The context of `multiprocessing` whose processes begin anew and do not run the main script."""

    Process = _Process


@contextmanager
def undisturbed() -> Iterator[None]:
    """Start processes in this block that get no interrupt and no hang-up: their parent answers both.

    Whatever closes or interrupts a terminal signals all processes of a command at once.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_tracker() -> None:
    """Start the process in which `multiprocessing` keeps count of semaphores, to outlive a hang-up."""
    with undisturbed():
        resource_tracker.ensure_running()
