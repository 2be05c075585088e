"""Fixtures of the tests of studies."""

import pytest

from pile_tools.studies.stream_place import StreamPlace
from tests.studies.small import make_stream


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> StreamPlace:
    return StreamPlace(str(make_stream(tmp_path_factory.mktemp("stream") / "tokens")))
