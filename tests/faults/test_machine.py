"""Workers and memory by default: what a cgroup of either version leaves of the machine."""

import os
from pathlib import Path

import pytest

from pile_tools.formats import machine

V2_MOUNT = "42 33 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
NO_LIMIT_V1 = "9223372036854771712"


def tree(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> Path:
    contents = {"proc/self/cgroup": cgroup, "proc/self/mountinfo": mounts} | {
        f"sys/fs/cgroup/{name}": content for name, content in files.items()
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def test_version_2_takes_the_least_of_the_nested_limits(tmp_path: Path) -> None:
    files = {
        "slurm/cpu.max": "200000 100000",
        "slurm/job/cpu.max": "max 100000",
        "slurm/job/step/cpu.max": "800000 100000",
        "slurm/memory.max": "max",
        "slurm/job/memory.max": "4294967296",
        "slurm/job/step/memory.max": "8589934592",
        "other/memory.max": "1",
    }
    root = tree(tmp_path, "0::/slurm/job/step", V2_MOUNT, files)
    assert machine.cpu_quota(root) == 2
    assert machine.memory_limit(root) == 4 << 30


def test_version_2_in_a_container_whose_tree_is_the_mounted_one(tmp_path: Path) -> None:
    files = {"cpu.max": "150000 100000", "memory.max": "1073741824"}
    for number, cgroup in enumerate(("0::/", "0::/../../elsewhere", "0::/docker/abc")):
        root = tree(tmp_path / str(number), cgroup, V2_MOUNT, files)
        assert machine.cpu_quota(root) == 1.5
        assert machine.memory_limit(root) == 1 << 30


def test_version_1_has_a_tree_for_each_controller(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/job/cpu.cfs_quota_us": "300000",
        "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/job/memory.limit_in_bytes": "2147483648",
        "memory/memory.limit_in_bytes": NO_LIMIT_V1,
    }
    cgroup = "5:memory:/job\n4:cpu,cpuacct:/job\n0::/unused"
    root = tree(tmp_path, cgroup, V1_MOUNTS.format(top="/"), files)
    assert machine.cpu_quota(root) == 3
    assert machine.memory_limit(root) == 2 << 30


def test_version_1_in_a_container_that_sees_its_own_folder_alone(tmp_path: Path) -> None:
    files = {
        "cpu,cpuacct/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "536870912",
    }
    cgroup = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc"
    root = tree(tmp_path, cgroup, V1_MOUNTS.format(top="/docker/abc"), files)
    assert machine.cpu_quota(root) == 0.5
    assert machine.memory_limit(root) == 512 << 20


def test_both_versions_at_once(tmp_path: Path) -> None:
    mounts = V1_MOUNTS.format(top="/") + V2_MOUNT.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    files = {
        "memory/job/memory.limit_in_bytes": "3221225472",
        "unified/job/memory.max": "max",
        "unified/job/cpu.max": "100000 100000",
    }
    root = tree(tmp_path, "5:memory:/job\n0::/job", mounts, files)
    assert machine.memory_limit(root) == 3 << 30
    assert machine.cpu_quota(root) == 1


def test_no_cgroup_is_no_limit(tmp_path: Path) -> None:
    assert machine.cpu_quota(tmp_path) is None
    assert machine.memory_limit(tmp_path) is None
    for files in ({"memory.max": "max", "cpu.max": "max 100000"}, {"memory.max": "", "cpu.max": "what"}):
        root = tree(tmp_path / str(len(files["cpu.max"])), "0::/", V2_MOUNT, files)
        assert machine.cpu_quota(root) is None
        assert machine.memory_limit(root) is None


@pytest.mark.parametrize(("quota", "workers"), [(None, 8), (0.5, 1), (1.0, 1), (2.9, 2), (64.0, 8)])
def test_workers_are_the_cores_within_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    assert machine.default_workers() == workers


def test_memory_is_that_of_the_machine_or_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    physical = machine.memory_bytes()
    for limit, expected in ((1 << 20, 1 << 20), (physical + 1, physical)):
        monkeypatch.setattr(machine, "memory_limit", lambda limit=limit: limit)
        assert machine.memory_bytes() == expected
