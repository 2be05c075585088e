"""CPUs and memory that this process may use: those of the machine, less what a cgroup or an affinity takes.

A container or a batch job is a cgroup. Its limits are in files of its own folder and of the folders above,
and the least holds. Version 2 has one tree, version 1 one for each controller, and both may be there at once.
"""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["default_workers", "memory_bytes"]

_ROOT: Final = Path("/")


def default_workers() -> int:
    """Return the number of processes to use: the cores of this process, at most its CPU quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def memory_bytes() -> int:
    """Return the memory of the machine, or of the cgroup where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit()
    return physical if limit is None else min(physical, limit)


@cache
def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' time the cgroups of this process have, None without a limit.

    ``root`` is the directory that holds proc and sys.
    """
    quotas = []
    for folder in _folders(root, "cpu"):
        words = _words(folder / "cpu.max")
        if not words:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        # "max" or -1 is no limit.
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


@cache
def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the bytes that the cgroups of this process may hold, None without a limit."""
    limits = []
    for folder in _folders(root, "memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        if words and words[0].isdecimal():
            limits.append(int(words[0]))
    return min(limits, default=None)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the cgroups of this process for ``controller``, and all above them."""
    paths = dict(_cgroups(root))
    for controllers, top, mounted in _mounts(root):
        name = controller if controllers else ""
        if name not in paths or (controllers and controller not in controllers):
            continue
        # What is mounted is the tree from ``top`` on; in a container it can be that of the container alone.
        path = paths[name]
        inside = path.relative_to(top) if path.is_relative_to(top) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        folder = root / mounted.relative_to("/") / inside
        yield folder
        yield from folder.parents[: len(inside.parts)]


def _cgroups(root: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """Yield (controller, path) of each cgroup of this process; the controller of version 2 is ""."""
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        for controller in controllers.split(",") if colon else ():
            yield controller, PurePosixPath(path)


def _mounts(root: Path) -> Iterator[tuple[list[str], PurePosixPath, PurePosixPath]]:
    """Yield (controllers, path in the tree, mount point) of each mounted tree; none of version 2."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        words, kinds = before.split(), after.split()
        if len(words) > 4 and kinds and kinds[0] in ("cgroup", "cgroup2"):
            controllers = kinds[-1].split(",") if kinds[0] == "cgroup" else []
            yield controllers, PurePosixPath(words[3]), PurePosixPath(words[4])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    lines = _lines(path)
    return lines[0].split() if lines else []
