import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pile_tools.errors import DataError, UnfinishedError
from pile_tools.jobs.executor import Task, TaskPool, run_tasks
from tests.processes import started


def write(path: Path, content: str) -> None:
    path.write_text(content)


def fail(path: Path) -> None:
    raise DataError(f"{path}: broken")


def die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doze(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


@pytest.mark.parametrize("workers", [1, 2])
def test_runs_what_is_not_done_and_reports(tmp_path: Path, workers: int) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    paths[2].write_text("old")
    seen: list[tuple[str, int, int]] = []
    tasks = [Task(p.name, write, (p, "new"), (p,), weight=i + 1) for i, p in enumerate(paths)]
    run_tasks(tasks, workers=workers, label="write", progress=lambda *report: seen.append(report))
    assert [p.read_text() for p in paths] == ["new", "new", "old", "new"]
    assert (seen[0], seen[-1]) == (("write", 3, 10), ("write", 10, 10))


@pytest.mark.parametrize("workers", [1, 2])
def test_first_error_is_raised(tmp_path: Path, workers: int) -> None:
    tasks = [Task(str(n), fail, (tmp_path / str(n),), (tmp_path / str(n),)) for n in range(3)]
    with pytest.raises(DataError, match="broken"):
        run_tasks(tasks, workers=workers)


def test_dead_worker_is_named_and_resumable(tmp_path: Path) -> None:
    tasks = [
        Task("good", write, (tmp_path / "a", "x"), (tmp_path / "a",)),
        Task("killed", die, (tmp_path / "b",), (tmp_path / "b",)),
    ]
    with pytest.raises(UnfinishedError, match=r"killed.*worker process died"):
        run_tasks(tasks, workers=2)


SCRIPT = """
import sys
from pathlib import Path
from pile_tools.jobs.executor import Task, TaskPool, run_tasks, start_server
from tests.jobs.test_executor import doze
if __name__ == "__main__":
    paths = [Path(sys.argv[1]) / name for name in "ab"]
    if sys.argv[2] == "forkserver":
        start_server("json")
    tasks = [Task(p.name, doze, (p,), (p,)) for p in paths]
    run_tasks(tasks, workers=2, start_method=sys.argv[2])
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
@pytest.mark.serial
def test_no_worker_outlives_its_parent(tmp_path: Path, kind: signal.Signals, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script), str(tmp_path), method]
    with started(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        written = [tmp_path / name for name in "ab"]
        deadline = time.monotonic() + 60
        while not all(path.exists() and path.read_text() for path in written):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.send_signal(kind)
        parent.wait(timeout=30)
        children = [int(path.read_text()) for path in written]
        while any(alive(child) for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def write_pid(path: Path) -> None:
    path.write_text(str(os.getpid()))


def test_a_pool_serves_several_lists_with_the_same_processes(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    tasks = [Task(path.name, write_pid, (path,), (path,)) for path in paths]
    with TaskPool(1) as pool:
        pool.run(tasks[:1])
        pool.run(tasks[1:2], apart=True)
        pool.run(tasks[2:3], apart=True)
        pool.run(tasks[3:], in_process=True)
        pool.run(tasks, apart=True)
    here, *others = (int(path.read_text()) for path in paths)
    assert here == os.getpid()
    # Once there is a process, everything runs in it.
    assert len({*others}) == 1
    assert others[0] != here


def write_whether_loaded(path: Path) -> None:
    path.write_text(str("colorsys" in sys.modules))


def test_a_server_has_its_module_loaded_for_every_worker(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import sys
from pathlib import Path
from pile_tools.jobs.executor import Task, run_tasks, start_server
from tests.jobs.test_executor import write_whether_loaded
if __name__ == "__main__":
    start_server("colorsys")
    paths = [Path(sys.argv[1]) / name for name in "ab"]
    tasks = [Task(p.name, write_whether_loaded, (p,), (p,)) for p in paths]
    run_tasks(tasks, workers=2, start_method="forkserver")
""")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, str(script), str(tmp_path)], env=environment, check=True)
    assert [(tmp_path / name).read_text() for name in "ab"] == ["True", "True"]
