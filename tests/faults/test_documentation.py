"""The pages of the documentation: plain words, links that lead somewhere, names that the code has."""

import importlib
import re
from pathlib import Path

import pytest

from tests.test_layers import FLOORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
# What a reader stumbles over: inverted sentences, and words that have a plainer one.
STUMBLES = re.compile(r"(?:^|[.:;] )Of [a-z]|\banew\b|\bis none\b|\bso many\b|\btold\b", re.MULTILINE)
SENTENCE_END = re.compile(r"[.!?](?= [A-Z`]|$)")
# Made from the help of the commands, and a list of changes: neither is a page of prose.
PROSE = [page for page in PAGES if page.name not in {"command-line.md", "CHANGELOG.md"}]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|^ {4}[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Return the anchors of a page: its headings in lower case, "-" for a space, without other signs."""
    titles = re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_a_page_is_in_plain_words(page: Path) -> None:
    text = without_code(page.read_text())
    assert STUMBLES.findall(text) == []
    for line in text.splitlines():
        if line.startswith("|"):
            for cell in re.split(r"(?<!\\)\|", line):
                assert len(SENTENCE_END.findall(cell.strip())) < 3, f"three sentences in a cell: {cell}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_a_page_and_a_heading_of_it(page: Path) -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)\s]+)\)", without_code(page.read_text())):
        file, _, anchor = target.partition("#")
        leads_to = (page.parent / file).resolve() if file else page
        assert leads_to.exists(), target
        if anchor:
            assert anchor in headings(leads_to), target


def test_every_page_is_in_the_table_of_contents() -> None:
    toctrees = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    listed = [line for tree in toctrees for line in tree.splitlines() if line and not line.startswith(":")]
    pages = [*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")]
    assert sorted(listed) == sorted(
        str(page.relative_to(DOCS).with_suffix("")) for page in pages if page.stem != "index"
    )


def test_names_in_the_python_reference_exist() -> None:
    directives = re.findall(r"^\.\. auto(\w+):: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert len(directives) > 20
    for kind, name in directives:
        module, _, attribute = (name, "", "") if kind == "module" else name.rpartition(".")
        assert not attribute or hasattr(importlib.import_module(module), attribute), name
        assert importlib.import_module(module).__doc__, f"{module}: no docstring to show"


def test_the_floors_on_the_design_page_are_those_that_imports_are_held_to() -> None:
    rows = re.findall(
        r"^\| (\d+) \| `([\w.]+?)(?:\.py|/)` \|", (DOCS / "design.md").read_text(), re.MULTILINE
    )
    drawn = {(int(floor), part) for floor, part in rows}
    assert drawn == {(floor, part) for floor, parts in enumerate(reversed(FLOORS), 1) for part in parts}, (
        "docs/design.md, the table of floors"
    )


def test_files_on_the_design_page_exist() -> None:
    """A file is named by its path in pile_tools or in the repository, or in a folder that the page names."""
    text = (DOCS / "design.md").read_text()
    names = {
        path.name for path in [*ROOT.glob("*/**/*.py"), *ROOT.glob("cli/*.py")] if ".venv" not in path.parts
    }
    for path in re.findall(r"(?<![\w/.])[a-z_]+(?:/[a-z_]+)*\.py\b", text):
        if "/" in path:
            assert any((base / path).is_file() for base in (ROOT, ROOT / "pile_tools")), path
        else:
            assert path in names, path
