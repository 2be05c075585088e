"""Downloads by huggingface_hub: waits that the Hub asks for, and any other error as it is."""

from pathlib import Path

import httpx
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from pile_tools.storage.hub_downloads import downloaded


def refusal(status: int, **headers: str) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://example.org/a")
    response = httpx.Response(status, headers={name.replace("_", "-"): headers[name] for name in headers})
    response.request = request
    return HfHubHTTPError(f"{status}", response=response)


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
