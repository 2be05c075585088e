"""Themes of the standard library: each module has one, whatever release has it."""

import sys

import pytest

from pile_tools.stages.demo_themes import REST, THEMES, theme


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("json/decoder.py", "files and formats"),
        ("asyncio/events.py", "concurrency"),
        ("textwrap.py", "text"),
        ("__future__.py", REST),
        ("jsonlike/a.py", REST),
    ],
)
def test_a_file_has_the_theme_of_its_top_level_module(path: str, expected: str) -> None:
    assert theme(path) == expected


def test_no_module_has_two_themes_and_this_release_has_every_theme() -> None:
    names = [name for modules in THEMES.values() for name in modules.split()]
    assert len(names) == len(set(names))
    for modules in THEMES.values():
        assert set(modules.split()) & sys.stdlib_module_names
