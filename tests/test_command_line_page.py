import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_page_is_what_help_prints() -> None:
    """Every command is in docs/command-line.md, with the help that it prints today."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.PAGE.read_text() == generate.page(), "run `python docs/generate.py`"
