"""The layers of the design, read from the source: imports go down only, and some go nowhere."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the top down: a part imports from the floors below its own, and from no other part of its floor.
FLOORS = (
    {"cli"},
    {"api"},
    {"studies", "checks"},
    {"train"},
    {"stages"},
    {"viewer"},
    {"lookups"},
    {"stream"},
    {"suites"},
    {"formats"},
    {"corpus", "jobs"},
    {"render"},
    {"storage", "algorithms"},
    {"errors"},
)
FLOOR = {part: number for number, parts in enumerate(reversed(FLOORS)) for part in parts}
MOST_MODULES = 20
MOST_CODE_LINES = 400
MOST_FUNCTION_LINES = 60
ONLY_IN = {
    "torch": {"train", "studies"},
    "safetensors": {"train", "studies"},
    "transformers": {"studies"},
    "scipy": {"studies"},
    "click": {"cli"},
    "tqdm": {"cli", "jobs"},
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
        if first == "pile_tools" and rest != ["__version__"] and rest[0] != part:
            assert FLOOR[rest[0]] < FLOOR[part], f"{part} imports {name}"


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


def module_of(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


def test_there_is_no_circle() -> None:
    modules = {module_of(path): path for path in SOURCES if part_of(path) != "cli"}
    below = {
        module: {
            target
            for name in imported(path)
            for target in (name, name.rpartition(".")[0])
            if target in modules and target != module and modules[target].name != "__init__.py"
        }
        for module, path in modules.items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for target in sorted(below[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(below):
        visit(module, ())


def code_lines(path: Path) -> list[int]:
    """Numbers of the lines that are no blank, no comment and no docstring."""
    source = path.read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            for statement in body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    docstrings.update(range(statement.lineno, (statement.end_lineno or 0) + 1))
    return [
        number
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in docstrings
    ]


def test_rooms_and_modules_are_of_a_size_that_is_read_at_once() -> None:
    for folder in {path.parent for path in SOURCES if part_of(path) != "cli"}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, folder
    for path in SOURCES:
        lines = code_lines(path)
        assert len(lines) <= MOST_CODE_LINES, f"{path}: {len(lines)} code lines"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and part_of(path) != "cli":
                body = [n for n in lines if node.body[0].lineno <= n <= (node.end_lineno or 0)]
                assert len(body) <= MOST_FUNCTION_LINES, f"{path}: {node.name} has {len(body)} lines"
