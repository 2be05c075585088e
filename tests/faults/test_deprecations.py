"""Deprecations that our code causes are failures, wherever a library says that they come from."""

import warnings
from types import FunctionType

import pytest

from tests.deprecations import deprecations_fail


def library(category: str) -> FunctionType:
    """A function outside this repository that warns of a line of its own."""
    code = f"import warnings\ndef old():\n    warnings.warn('old spelling', {category}, stacklevel=1)\n"
    names = {"__name__": "library"}
    exec(compile(code, "/elsewhere/library.py", "exec"), names)
    function = names["old"]
    assert isinstance(function, FunctionType)
    return function


@pytest.mark.parametrize("category", ["DeprecationWarning", "FutureWarning", "PendingDeprecationWarning"])
def test_a_deprecation_in_a_library_that_a_test_calls(category: str) -> None:
    old = library(category)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        if category == "PendingDeprecationWarning":
            with deprecations_fail():
                old()
        else:
            with (
                pytest.raises(pytest.fail.Exception, match=rf"test_deprecations\.py:\d+: {category}: old sp"),
                deprecations_fail(),
            ):
                old()
    assert [str(warning.message) for warning in shown] == ["old spelling"]


@pytest.mark.parametrize("name", ["pile_tools.viewer", "pile_tools_cli.main", "tests.cli.test_main", "tests"])
def test_a_warning_that_names_our_line_is_an_error(name: str) -> None:
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit("ours", UserWarning, "file.py", 1, module=name)


@pytest.mark.filterwarnings("ignore:theirs")
@pytest.mark.parametrize("name", ["transformers", "pile_tools_elsewhere", "testsuite"])
def test_a_warning_of_another_package_is_not(name: str) -> None:
    warnings.warn_explicit("theirs", UserWarning, "file.py", 1, module=name)
