"""The errors that pile-tools raises on purpose: one file, one exit code each, and no unnamed kind."""

import ast
import copy
import subprocess
import sys
from pathlib import Path

import pytest

import pile_tools
from pile_tools import errors
from pile_tools.errors import (
    EXTRAS,
    DataError,
    ExitCode,
    MissingExtraError,
    OutOfRangeError,
    ParameterError,
    PileToolsError,
    needs_extra,
)

ROOT = Path(errors.__file__).parents[1]
SOURCES = [path for name in ("pile_tools", "cli") for path in sorted((ROOT / name).rglob("*.py"))]

EXIT_CODES = {
    "BulkEncoderError": 1,
    "BusyError": 1,
    "ChangedError": 1,
    "DataError": 3,
    "DefectError": 1,
    "DeniedError": 1,
    "EmptyError": 1,
    "FileAccessError": 1,
    "MismatchError": 3,
    "MissingExtraError": 1,
    "MissingFileError": 1,
    "MissingStreamError": 1,
    "NoDocumentError": 3,
    "NonFiniteError": 1,
    "OccupiedError": 1,
    "OutOfRangeError": 1,
    "ParameterError": 2,
    "ProcessError": 1,
    "RecordsError": 3,
    "RemoteError": 1,
    "TextGoneError": 1,
    "UnanswerableError": 1,
    "UnfinishedError": 4,
    "UnsupportedError": 1,
}
INTERNAL = {"BulkEncoderError", "TextGoneError"}


def test_every_class_has_the_exit_code_of_the_table() -> None:
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PileToolsError) and value is not PileToolsError
    }
    assert {name: int(value.exit_code) for name, value in classes.items()} == EXIT_CODES
    for name, value in classes.items():
        assert value.__doc__, name
        assert value.__doc__.endswith("."), name
        assert "\n" not in value.__doc__, name


def test_the_exit_codes_are_those_of_the_documentation() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "ERROR": 1,
        "USAGE": 2,
        "DATA": 3,
        "UNFINISHED": 4,
        "HUNG_UP": 129,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


def test_a_data_error_is_no_error_of_values() -> None:
    """A parser that maps the ValueError of another library does not take hold of our own."""
    assert not issubclass(DataError, ValueError)
    assert issubclass(ParameterError, ValueError)
    assert issubclass(OutOfRangeError, IndexError)


@pytest.mark.parametrize("name", sorted(EXIT_CODES))
def test_an_error_crosses_processes_whole(name: str) -> None:
    kind = getattr(errors, name)
    arrived = copy.copy(kind("tokens/document.idx: 3 bytes after the index"))  # as a worker's error is
    assert type(arrived) is kind
    assert str(arrived) == "tokens/document.idx: 3 bytes after the index"


def _calls() -> dict[str, list[str]]:
    """Return where each class is made, and ``kind=`` arguments and defaults that become one."""
    made: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[ast.expr] = []
            if isinstance(node, ast.Call):
                names = [node.func, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.Raise) and node.exc is not None:
                names = [node.exc]
            elif isinstance(node, ast.FunctionDef):
                names = [default for default in node.args.defaults if default is not None]
            for name in names:
                called = name.id if isinstance(name, ast.Name) else getattr(name, "attr", "")
                made.setdefault(called, []).append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return made


def test_the_base_class_is_never_raised_and_every_other_one_is() -> None:
    made = _calls()
    assert "PileToolsError" not in made, made["PileToolsError"]
    assert set(EXIT_CODES) - set(made) == set()


def test_all_classes_are_in_one_file() -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in SOURCES
        if path.name != "errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(base, ast.Name) and base.id in {"PileToolsError", *EXIT_CODES} for base in node.bases
        )
    ]
    assert elsewhere == []


def test_no_parser_asks_an_error_whether_it_is_ours() -> None:
    asking = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and any(isinstance(name, ast.Name) and name.id == "DataError" for name in ast.walk(node.args[1]))
    ]
    assert asking == []


def test_the_package_exports_the_classes() -> None:
    for name in {"PileToolsError", *EXIT_CODES} - INTERNAL:
        assert getattr(pile_tools, name) is getattr(errors, name)
        assert name in pile_tools.__all__


def test_the_errors_load_nothing_of_others() -> None:
    code = (
        "import sys; before = set(sys.modules); import pile_tools.errors; "
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(loaded - sys.stdlib_module_names))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "['pile_tools']"


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_extra_says_how_to_install_it(package: str) -> None:
    message = rf"{package} .* this needs it.*pile-tools\["
    with pytest.raises(MissingExtraError, match=message) as caught, needs_extra("this"):
        raise ModuleNotFoundError("x", name=f"{package}.part")
    assert f"[{EXTRAS[package]}]" in str(caught.value)


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="other"), ImportError("x"), ValueError("x")])
def test_any_other_error_is_left_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, needs_extra("this"):
        raise error
    assert caught.value is error
