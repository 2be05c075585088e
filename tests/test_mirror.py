"""A test file for each module: pile_tools/X/Y.py has tests/X/test_Y.py."""

from pathlib import Path

import pytest

from tests.test_layers import ROOT, SOURCES, code_lines

# A module of so few lines is tested by those that use it.
LEAST_CODE_LINES = 26
TESTED_ELSEWHERE = {
    "pile_tools/__init__.py": "by test_import.py: what it names and what it loads",
    "pile_tools/train/__init__.py": "by test_import.py and test_training.py: what it names, without torch",
}


def path_of_test(source: Path) -> Path:
    folder = source.parent.relative_to(ROOT / "pile_tools")
    return ROOT / "tests" / folder / f"test_{source.name}"


MODULES = [path for path in SOURCES if path.is_relative_to(ROOT / "pile_tools")]


@pytest.mark.parametrize("source", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_test_of_its_name(source: Path) -> None:
    name = str(source.relative_to(ROOT))
    if name not in TESTED_ELSEWHERE and len(code_lines(source)) >= LEAST_CODE_LINES:
        assert path_of_test(source).is_file(), f"{name}: write {path_of_test(source).relative_to(ROOT)}"
