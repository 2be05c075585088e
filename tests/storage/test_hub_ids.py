"""Hub ids and what can only be meant as a path."""

from pathlib import Path

import pytest

from pile_tools.errors import PileToolsError
from pile_tools.storage.hub_ids import split_hub_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("owner/name", ("owner/name", None)),
        ("owner/name@v1", ("owner/name", "v1")),
        ("EleutherAI/pythia-14m@step143000", ("EleutherAI/pythia-14m", "step143000")),
        ("owner/step3@main", ("owner/step3", "main")),
    ],
)
def test_ids(text: str, expected: tuple[str, str | None]) -> None:
    assert split_hub_id(text, "directory") == expected


@pytest.mark.parametrize(
    "text", ["", "name", "a/b/c", "/a/b", "../a", "a/.b", "run/step5", "tokens/document.idx", "a b/c"]
)
def test_paths_that_are_not_there(text: str) -> None:
    with pytest.raises(PileToolsError, match="no such directory"):
        split_hub_id(text, "directory")


def test_the_checkpoints_of_a_directory_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for step in (0, 2, 10, 100, 1000, 20):
        (tmp_path / "run" / f"step{step}").mkdir(parents=True)
    with pytest.raises(PileToolsError, match="run holds step2, step10, step20, step100, step1000, …"):
        split_hub_id("run/step5", "directory")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PileToolsError, match="empty is empty"):
        split_hub_id("empty/x", "file")
