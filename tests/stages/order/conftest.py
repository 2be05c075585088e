"""Fixtures of the tests of orders."""

from pathlib import Path

import pytest

from tests.token_data import random_documents, write_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", random_documents(0, [9, 0, 40, 3, 17, 1] * 4)).parent
