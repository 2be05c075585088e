"""Errors raised on purpose: the exit code of each, and extras that are not installed."""

import pytest

from pile_tools import errors
from pile_tools.errors import EXTRAS, ExitCode, MissingExtraError, PileToolsError, needs_extra

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PileToolsError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_an_exit_code_and_is_public(kind: type[PileToolsError]) -> None:
    assert kind.exit_code in set(ExitCode) - {ExitCode.DONE, ExitCode.INTERRUPTED}
    assert kind.__name__ in errors.__all__
    assert kind.__doc__


def test_exit_codes_are_those_of_the_documentation() -> None:
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 130]
    assert errors.ParameterError.exit_code == 2
    assert errors.DataError.exit_code == errors.RecordsError.exit_code == 3
    assert errors.UnfinishedError.exit_code == 4
    assert issubclass(errors.ParameterError, ValueError)
    assert issubclass(errors.OutOfRangeError, IndexError)


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
