"""Outputs of version 0.1.0: every later version reads them, and answers what 0.1.0 answered."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pile_tools_cli.main import run

TREE = Path(__file__).parent / "golden" / "0.1.0"
COMMANDS = (TREE / "answers" / "commands.txt").read_text().splitlines()
ASKED = [line for line in COMMANDS if " > " in line]
VERIFIED = (
    ["kept"],
    ["kept-exact"],
    ["kept-later"],
    ["tokens"],
    ["tokens-later"],
    ["order-megatron-core"],
    ["blend"],
    ["overlay-swap"],
    ["overlay-documents"],
    ["fetched"],
    ["fetched-tokens"],
    ["exported"],
    ["run/step4", "--data", "tokens"],
)
# Keys of answers that have another name since, by the command that answers.
RENAMED: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, so that no command can write into the frozen one."""
    return Path(shutil.copytree(TREE, tmp_path_factory.mktemp("frozen") / "tree"))


@pytest.fixture(autouse=True)
def inside(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)


def assert_holds(old: Any, new: Any, renamed: dict[str, str], where: str = "") -> None:
    """Fail unless ``new`` holds all that ``old`` holds; it may have more keys."""
    if isinstance(old, dict):
        for key, value in old.items():
            name = renamed.get(key, key)
            assert name in new, f"{where}.{key}"
            assert_holds(value, new[name], renamed, f"{where}.{key}")
    elif isinstance(old, list):
        assert len(old) == len(new), where
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            assert_holds(left, right, renamed, f"{where}[{index}]")
    else:
        assert old == new, where


def split(line: str) -> list[str]:
    return [word.strip("'") for word in line.split()]


@pytest.mark.parametrize("line", ASKED, ids=lambda line: line.split(" > ")[1])
def test_answers_are_those_of_then(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _, name = line.partition(" > ")
    assert run(split(command)) == 0, capsys.readouterr().err
    answer = capsys.readouterr().out
    stored = (TREE / "answers" / name).read_text()
    if name.endswith(".json"):
        assert_holds(json.loads(stored), json.loads(answer), RENAMED.get(split(command)[0], {}))
    else:
        assert answer == stored


@pytest.mark.parametrize("arguments", VERIFIED, ids=lambda arguments: arguments[0])
def test_everything_verifies(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", *arguments]) == 0, capsys.readouterr().err


def test_a_removal_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "kept", "--shard", "b.jsonl", "--row", "38", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert json.dumps(shown).count("And once more.") >= 1


def test_a_checkpoint_is_read_and_forked(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    fork = ["--from", "run/step4", "--data", "overlay-swap", "--steps", "6", "--lr", "0.001"]
    assert run(["train", *fork, "-o", "fork"]) == 0, capsys.readouterr().err
    assert run(["verify", "fork/step6", "--data", "tokens", "--data", "overlay-swap"]) == 0
