"""Run the tasks of a stage in local processes.

A task is a pure function of files and parameters that publishes its outputs whole, so a task whose
outputs exist is done, one that died is run again, and neither the number of workers nor their fate can
change a byte.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pile_tools.errors import UnfinishedError
from pile_tools.formats.machine import default_workers

__all__ = ["Progress", "Task", "TaskPool", "no_progress", "run_tasks", "start_server"]

Progress = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, and of how much."""


def no_progress(label: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a module-level ``function`` with ``arguments``; done when all ``outputs`` exist.

    ``weight`` is its share of the work in any unit (bytes, as a rule).
    """

    name: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    outputs: tuple[Path, ...]
    weight: int = 1

    @property
    def done(self) -> bool:
        return all(path.exists() for path in self.outputs)


def start_server(module: str) -> None:
    """Start the process that workers of start method "forkserver" are forked from, once for this process.

    It imports ``module`` and is otherwise as new: no thread of this process has ever been in it.
    """
    forkserver.set_forkserver_preload([module])
    # Inherited: an interrupt is for this process, at no moment for those that it starts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker() -> None:
    # The parent answers an interrupt for all; a worker whose parent was killed must not live on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class TaskPool:
    """Up to ``workers`` processes (default: one for each core) that serve several lists of tasks.

    A process is started when there is a task for it and stays until the block ends. ``start_method`` is
    one of `multiprocessing`'s ("spawn" unless given: a fork of a process with threads is not safe, and
    "forkserver" pays where ``start_server`` was called).
    """

    def __init__(self, workers: int | None = None, start_method: str | None = None) -> None:
        self._workers = workers or default_workers()
        self._start_method = start_method or "spawn"
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()  # one that was started with SIGTERM ignored would go on
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self,
        tasks: Sequence[Task],
        *,
        label: str = "tasks",
        progress: Progress = no_progress,
        in_process: bool = False,
        apart: bool = False,
    ) -> None:
        """Run every task that is not done, in the processes of this pool.

        While it has none yet, tasks run in this very process where asked, or where one worker is all, unless
        ``apart`` says that they are long and that this process is to answer meanwhile.

        The first error of a task is raised, and the tasks that already run end with the block. Raises
        UnfinishedError naming the tasks that were under way when a worker process died.
        """
        total = sum(task.weight for task in tasks)
        todo = [task for task in tasks if not task.done]
        done = total - sum(task.weight for task in todo)
        progress(label, done, total)
        here = in_process or (min(self._workers, len(todo)) == 1 and not apart)
        if not todo or (here and self._pool is None):
            for task in todo:
                task.function(*task.arguments)
                done += task.weight
                progress(label, done, total)
            return
        for finished in self._in_processes(todo):
            done += finished.weight
            progress(label, done, total)

    def _in_processes(self, todo: Sequence[Task]) -> Iterator[Task]:
        """Run the tasks and yield each when it has ended."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context(self._start_method),
                initializer=_start_worker,
            )
        # The heaviest first, so that the end does not wait for one that was begun late.
        queue = sorted(todo, key=lambda task: -task.weight)
        running: dict[Future[None], Task] = {}
        try:
            while queue or running:
                while queue and len(running) < self._workers:
                    task = queue.pop(0)
                    running[self._pool.submit(task.function, *task.arguments)] = task
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
                    yield running.pop(future)
        except BrokenProcessPool:
            names = ", ".join(sorted(task.name for task in running.values()))
            raise UnfinishedError(
                f"{names}: a worker process died (killed, or out of memory); run the same command again, "
                "perhaps with fewer `--workers`"
            ) from None


def run_tasks(
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    label: str = "tasks",
    progress: Progress = no_progress,
    start_method: str | None = None,
) -> None:
    """Run every task that is not done in processes that serve these tasks alone: see ``TaskPool``."""
    with TaskPool(workers, start_method) as pool:
        pool.run(tasks, label=label, progress=progress)
