"""CPUs and memory that this process may use, under a root that is made for the test."""

import os
from pathlib import Path

import pytest

from pile_tools.jobs import machine
from pile_tools.jobs.machine import cpu_quota, default_workers, memory_bytes, memory_limit


def write(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cgroup /job/step of version 2, of which the one above has the limits."""
    write(tmp_path, "proc/self/cgroup", "0::/job/step\n")
    write(tmp_path, "proc/self/mountinfo", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    write(tmp_path, "sys/fs/cgroup/job/step/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/job/cpu.max", "250000 100000\n")
    write(tmp_path, "sys/fs/cgroup/job/step/memory.max", "8000000\n")
    write(tmp_path, "sys/fs/cgroup/job/memory.max", "5000000\n")
    return tmp_path


def test_the_least_of_nested_limits_holds(root: Path) -> None:
    assert cpu_quota(root) == 2.5
    assert memory_limit(root) == 5_000_000


@pytest.mark.parametrize("content", ["", "max\n", "-1\n", "x y\n", "max 100000\n"])
def test_what_is_no_limit(content: str, root: Path) -> None:
    write(root, "sys/fs/cgroup/job/cpu.max", content)
    write(root, "sys/fs/cgroup/job/memory.max", content)
    assert cpu_quota(root) is None
    assert memory_limit(root) == 8_000_000


def test_this_machine_bounds_both(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cores is not None
    for quota, expected in ((None, cores), (0.5, 1), (1.9, 1), (1e6, cores)):
        monkeypatch.setattr(machine, "cpu_quota", lambda quota=quota: quota)
        assert default_workers() == expected
    for limit, least in ((None, 1 << 20), (12345, 12345)):
        monkeypatch.setattr(machine, "memory_limit", lambda limit=limit: limit)
        assert memory_bytes() >= least
    assert memory_bytes() == 12345
