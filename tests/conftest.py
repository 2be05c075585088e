"""Fixtures that many tests share."""

import fcntl
import os
import shutil
import signal
import sysconfig
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pile_tools.stages.demo import make_demo_corpus

# Work this small loses time in threads that wait for each other. For torch, which is imported later, and for
# the processes that tests start; the number of threads may change roundings, so it is one number for all.
os.environ["OMP_NUM_THREADS"] = "1"

# No timed assertions: the first example of a kernel's test compiles it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What tests prove is remembered in a cache of their own, which the processes that they start share.
_CACHE = tempfile.TemporaryDirectory(prefix="pile-tools-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name

# Small packages of the standard library; encodings/ holds true near-duplicates.
PACKAGES = ("encodings", "json", "asyncio", "email")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers of pytest-xdist begin with the files that take long, so that none of these is the last."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run tests that are marked "serial" one at a time, whichever worker has them."""
    if item.get_closest_marker("serial") is None:
        return (yield)
    with open(__file__) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _children_answer_signals() -> Iterator[None]:
    """Let children start with a signal's default action where this process was started to ignore it.

    `nohup` and many CI runners start it so, and a child inherits an ignored signal, but not a caught one.
    """
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = [number for number in signals if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session")
def small_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory like a standard library, but small."""
    directory = tmp_path_factory.mktemp("library")
    for name in PACKAGES:
        source = Path(sysconfig.get_path("stdlib")) / name
        shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@pytest.fixture(scope="session")
def demo_corpus(small_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's corpus made of the small library, with its tokenizer. Do not write into it."""
    directory = tmp_path_factory.mktemp("demo") / "corpus"
    make_demo_corpus(directory, library=small_library)
    return directory
