"""Names of models and of their revisions."""

from pathlib import Path

import pytest

from pile_tools.errors import ParameterError
from pile_tools.studies.model_name import ModelName


def test_names(tmp_path: Path) -> None:
    assert ModelName.parse("a/b@step512") == ModelName("a/b", "step512") == ModelName.parse("a/b", "step512")
    assert ModelName.parse("a/b@step512").steps() == 512
    assert ModelName.parse("a/b").steps() is None
    (tmp_path / "step64").mkdir()
    assert ModelName.parse(str(tmp_path / "step64")).steps() == 64
    with pytest.raises(ParameterError, match="names a revision"):
        ModelName.parse("a/b@one", "two")
    with pytest.raises(ParameterError, match="neither a directory nor"):
        ModelName.parse("a/b@")
