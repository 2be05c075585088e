"""Arguments that name nothing: an absent path is not sought on the Hub, a search says what it has read."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools.formats.hub_ids import split_hub_id
from pile_tools.stages.order import make_order
from tests.token_data import random_documents, write_dataset


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a run with two checkpoints, a dataset with an order; no Hub may be asked."""
    for step in ("step4", "step16"):
        (tmp_path / "run" / step).mkdir(parents=True)
    write_dataset(tmp_path / "tokens", random_documents(0, [40] * 10))
    make_order(tmp_path / "tokens", seq_length=8, batch_size=4, steps=10, seed=1)
    monkeypatch.chdir(tmp_path)

    def ask(*arguments: object, **settings: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", ask)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", ask)
    return tmp_path


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = run(list(arguments))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return code, err


@pytest.mark.parametrize("name", ["run/step8", "other/step8", "./run", "run/deep/step8", "/nowhere/step8"])
def test_model_that_is_not_there_is_no_hub_id(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "./run":
        name = "./absent"
    for arguments in (
        ["loss", name, "--data", "tokens", "--steps", "0:1"],
        ["memorize", name, "--data", "tokens", "--steps", "0:1", "-o", "m.parquet"],
        ["arithmetic", name],
    ):
        code, message = error(capsys, *arguments)
        assert code == 1
        assert message.startswith(f"pile-tools: {name}: no such directory"), message
        assert "cannot be reached" not in message
    if name == "run/step8":
        assert "run holds step4, step16" in message


@pytest.mark.parametrize("name", ["run/tokenizer", "absent/step8", "absent.json", "a/b/c"])
def test_tokenizer_that_is_not_there_is_no_hub_id(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "a.jsonl").write_text('{"text": "a"}\n')
    for arguments in (
        ["tokenize", "a.jsonl", "-o", "out", "--tokenizer", name],
        ["batch", "--data", "tokens", "--step", "0", "--tokenizer", name],
        ["find", "text", "--data", "tokens", "--tokenizer", name],
    ):
        code, message = error(capsys, *arguments)
        assert code == 1
        assert message.startswith(f"pile-tools: {name}: no such file"), message
    assert not (home / "out").exists()


def test_other_arguments_that_name_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run/tokens: no such directory" in error(capsys, "batch", "--data", "run/tokens", "--step", "0")[1]
    assert "no suite 'run/suite'" in error(capsys, "batch", "--suite", "run/suite", "--step", "0")[1]
    code, message = error(capsys, "train", "--data", "tokens", "--from", "run/step8", "-o", "fork")
    assert (code, "'run/step8' does not exist" in message) == (2, True)
    assert "run/order" in error(capsys, "batch", "--data", "tokens", "--order", "run/order", "--step", "0")[1]


def test_hub_ids_are_still_hub_ids(home: Path) -> None:
    assert split_hub_id("EleutherAI/pythia-70m", "directory") == ("EleutherAI/pythia-70m", None)
    assert split_hub_id("EleutherAI/pythia-70m@step8", "directory") == ("EleutherAI/pythia-70m", "step8")
    assert split_hub_id("owner/step8@main", "directory") == ("owner/step8", "main")


def test_find_in_a_directory_without_data(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home / "run")
    for arguments in (["find", "text"], ["batch", "--step", "0"], ["seen", "--document", "1"]):
        code, message = error(capsys, *arguments)
        assert code == 1
        assert message.startswith("pile-tools: the current directory: no .idx file in it")
        assert "--data" in message
        assert "PILE_TOOLS_DATA" in message


@pytest.mark.parametrize("arguments", [[], [""], ["   "], ["text", " \t\n"]])
def test_find_with_nothing_to_find(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Said before any data is opened: there is none in this directory.
    code, message = error(capsys, "find", *arguments, "--data", "run")
    assert code == 2
    assert message.startswith("pile-tools: nothing to look for"), message


def test_search_without_a_match_says_what_was_searched(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = np.concatenate(random_documents(0, [40] * 10))
    absent = next(str(token) for token in range(60_000) if token not in content)
    search = ["find", "--tokens", absent, "--data", "tokens"]
    assert run(search) == 0
    # 10 steps of 4 sequences of 8 + 1 tokens
    assert capsys.readouterr().out == "no occurrence in steps 0 to 9 (40 sequences, 360 tokens)\n"
    assert run([*search, "--count", "--steps", "3:4"]) == 0
    assert capsys.readouterr().out == f"{absent}: no occurrence in step 3 (4 sequences, 36 tokens)\n"
    assert run([*search, "--steps", "2:", "--json"]) == 0
    extent = {"start": 2, "stop": 10, "sequences": 32, "tokens": 288}
    assert json.loads(capsys.readouterr().out) == {"occurrences": [], "searched": extent}


def test_document_that_no_step_shows_names_the_steps(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_order(home / "tokens", seq_length=8, batch_size=1, steps=1, seed=1, name="short")
    for document in range(10):
        assert run(["seen", "--document", str(document), "--data", "tokens", "--order", "short"]) == 0
    assert re.search(r"^not in step 0 \(1 sequences, 9 tokens\)$", capsys.readouterr().out, re.MULTILINE)
