"""Worker processes that need nothing of the program that starts them.

`multiprocessing` has a spawned process run the main script once more, so that functions defined there can be
called. A script without ``if __name__ == "__main__"`` would then begin its own work again in every worker,
and one that is read from standard input is nowhere to be run from. Ours call functions of modules only.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.popen_spawn_posix import Popen
    from multiprocessing.process import BaseProcess

__all__ = ["SpawnWithoutMain"]

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
