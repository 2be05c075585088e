"""Deprecations that our code causes: a pytest plugin for runs with the newest releases.

`pytest -p tests.deprecations` fails a test, or the collection of a file, during which a DeprecationWarning or
a FutureWarning is shown while a function of ours is on the stack. The filters of pyproject.toml fail only for
warnings that name a line of ours, and a library's stacklevel often names one of its own.
"""

import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
OURS = tuple(f"{ROOT / name}/" for name in ("pile_tools", "cli", "tests"))


def our_frame() -> str | None:
    """Return the innermost line of ours, outside this file, that is being run, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS) and name != __file__:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return None


@contextmanager
def deprecations_fail() -> Iterator[None]:
    """Fail when the block is over where it has shown a deprecation that our code causes."""
    caused = []
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *arguments: Any, **options: Any) -> None:
        if issubclass(category, (DeprecationWarning, FutureWarning)) and (line := our_frame()) is not None:
            caused.append(f"{line}: {category.__name__}: {message}")
        show(message, category, *arguments, **options)

    warnings.showwarning = note
    try:
        yield
    finally:
        warnings.showwarning = show
    if caused:
        pytest.fail("\n".join(caused), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    with deprecations_fail():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    with deprecations_fail():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    with deprecations_fail():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    try:
        with deprecations_fail():
            report = yield
    except pytest.fail.Exception as failure:
        report.outcome, report.longrepr = "failed", str(failure)
    return report
