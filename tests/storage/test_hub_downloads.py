"""Downloads by huggingface_hub: waits that the Hub asks for, and any other error as it is."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pile_tools.storage.hub import downloaded


def refusal(status: int, **headers: str) -> HfHubHTTPError:
    """An error of huggingface_hub with the parts of a response that we look at, whatever its HTTP library."""
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    error.response = SimpleNamespace(
        status_code=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    return error


@pytest.mark.parametrize("behind_a_miss_of_the_cache", [False, True])
def test_the_wait_that_the_hub_asks_for(waits: list[float], behind_a_miss_of_the_cache: bool) -> None:
    answers: list[Exception | str] = [refusal(429, Retry_After="7"), "/x/file"]

    def download() -> str:
        answer = answers.pop(0)
        if isinstance(answer, str):
            return answer
        if behind_a_miss_of_the_cache:
            raise LocalEntryNotFoundError("not in the cache") from answer
        raise answer

    assert downloaded("name", download) == Path("/x/file")
    assert waits == [7.0]


@pytest.mark.parametrize("error", [refusal(404), FileNotFoundError("gone"), ValueError("x")])
def test_other_errors_are_raised_as_they_are(waits: list[float], error: Exception) -> None:
    def download() -> str:
        raise error

    with pytest.raises(type(error)) as caught:
        downloaded("name", download)
    assert caught.value is error
    assert waits == []
