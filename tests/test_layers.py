"""The layers of the design, read from the source: imports go down only, and some go nowhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What a part may import of pile_tools, besides itself.
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "formats": {"errors"},
    "algorithms": {"errors"},
    "stages": {"formats", "algorithms", "errors", "version"},
    "suites": {"formats", "algorithms", "errors"},
    "lookups": {"suites", "formats", "algorithms", "errors"},
    "viewer": {"lookups", "suites", "formats", "algorithms", "errors"},
    "train": {"viewer", "lookups", "stages", "suites", "formats", "algorithms", "errors", "version"},
    "studies": {"train", "viewer", "stages", "suites", "formats", "algorithms", "errors", "version"},
    "cli": {
        "studies",
        "train",
        "viewer",
        "lookups",
        "stages",
        "suites",
        "formats",
        "algorithms",
        "errors",
        "version",
    },
}
ONLY_IN = {
    "torch": {"train", "studies"},
    "safetensors": {"train", "studies"},
    "transformers": {"studies"},
    "scipy": {"studies"},
    "click": {"cli"},
    "tqdm": {"cli"},
}
NOWHERE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def part_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return "cli" if relative.parts[0] == "cli" else relative.parts[1].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert part_of(path) == "cli", f"{path}: relative import"
    return names


SOURCES = sorted([*(ROOT / "pile_tools").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":  # the public face: errors now, the viewer on first use
        return
    for name in imported(path):
        first, *rest = name.split(".")
        assert first not in NOWHERE, f"{name}: never here"
        assert part in ONLY_IN.get(first, {part}), f"{name}: not in {part}"
        if first == "pile_tools":
            target = "version" if rest == ["__version__"] else rest[0]
            assert target == part or target in BELOW[part], f"{part} imports {name}"


def test_print_and_eval_stay_out_of_the_library() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, f"{path}:{node.lineno}"
                assert node.func.id != "print" or part_of(path) == "cli", f"{path}:{node.lineno}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False, f"{path}:{node.lineno}"


def test_every_package_is_installed() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {
        ".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "pile_tools").rglob("__init__.py")
    }
    assert set(settings["tool"]["setuptools"]["packages"]) == found | {"pile_tools_cli"}
