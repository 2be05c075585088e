"""Fixtures of the tests of training."""

from pathlib import Path

import pytest

from tests.train.small import (
    begin,
    make_stream,
    write_config,
)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream ``data``, a ``config.json``, and the run ``whole`` on it that nothing interrupted."""
    directory = tmp_path_factory.mktemp("loop")
    make_stream(directory / "data")
    write_config(directory / "model")
    begin(directory, "whole")
    return directory
