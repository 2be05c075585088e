"""Suites: the published figures, and files of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest

from pile_tools.errors import DataError, ParameterError
from pile_tools.suites import list_suites, load_suite

MINE: dict[str, Any] = {
    "format": "pile-tools suite 1",
    "name": "mine",
    "title": "Mine",
    "dataset": {
        "location": "data",
        "prefix": "document",
        "shards": 3,
        "shard_bytes": 100,
        "last_shard_bytes": 40,
        "dtype": "uint16",
        "sequences": 24,
        "sequence_tokens": 5,
    },
    "order": {"recipe": "sequential"},
    "seq_length": 4,
    "batch_size": 2,
    "steps": 12,
    "tokenizer": None,
    "checkpoints": {"first": [0, 1, 2, 4], "every": 5},
    "models": ["me/mine"],
    "notes": [],
    "uncertain": [],
}


def test_the_published_datasets_are_what_their_models_read() -> None:
    for name in ("pythia", "pythia-deduped"):
        suite = load_suite(name)
        layout = suite.dataset.layout()
        assert layout is not None
        assert suite.dataset.sequences == suite.steps * suite.batch_size == 146_432_000
        assert sum(size for _, size in layout.parts) == 146_432_000 * 2049 * 2
        assert layout.parts[0] == ("document-00000-of-00020.bin", 30_000_000_000)
        assert layout.parts[-1] == ("document-00020-of-00020.bin", 78_336_000)
        checkpoints = suite.checkpoints()
        assert len(checkpoints) == 154
        assert [checkpoint.step for checkpoint in checkpoints[:12]] == [
            0,
            1,
            2,
            4,
            8,
            16,
            32,
            64,
            128,
            256,
            512,
            1000,
        ]
        last = checkpoints[-1]
        assert (last.branch, last.step, last.samples) == ("step143000", 143_000, 146_432_000)
        assert last.tokens == 299_892_736_000
    assert len(load_suite("pythia").models) == 10
    assert "EleutherAI/pythia-14m-deduped" not in load_suite("pythia-deduped").models
    assert "EleutherAI/pythia-12b-deduped" in load_suite("pythia-deduped").models


def test_v0_models_took_steps_twice_as_large() -> None:
    suite, later = load_suite("pythia-deduped-v0"), load_suite("pythia-deduped")
    assert suite.dataset == later.dataset
    assert (suite.batch_size, suite.steps) == (2048, 71_500)
    by_branch = {checkpoint.branch: checkpoint for checkpoint in suite.checkpoints()}
    assert by_branch["step1000"].step == 500
    # The branch of one name has seen as much in both.
    for checkpoint in later.checkpoints():
        if checkpoint.branch in by_branch:
            assert by_branch[checkpoint.branch].samples == checkpoint.samples
    assert set(suite.models) == {f"EleutherAI/pythia-{size}-deduped-v0" for size in ("160m", "410m", "1.4b")}


def test_unshuffled_suites_have_the_order_that_shuffles_them() -> None:
    suite = load_suite("pythia-deduped-unshuffled")
    assert suite.order.num_samples == 147_164_160
    assert suite.dataset.shards == 83
    assert suite.uncertain
    parameters = suite.order_parameters({"seed": 1234})
    assert (parameters["name"], parameters["num_samples"], parameters["steps"]) == (
        "train_0",
        147_164_160,
        143_000,
    )
    with pytest.raises(ParameterError, match="seed 5 is none of 1234"):
        suite.order_parameters({"seed": 5})
    seeds = load_suite("pythia-seeds").order.seeds
    assert seeds is not None
    assert (len(seeds), seeds["0"], seeds["9"]) == (10, 1234, 9)
    with pytest.raises(ParameterError, match="there is none to make"):
        load_suite("pythia").order_parameters({"seed": 1234})


def test_every_suite_of_ours_is_sound() -> None:
    names = [suite.name for suite in list_suites()]
    assert names == sorted(names)
    assert {"pythia", "pythia-deduped", "pythia-v0", "pythia-deduped-v0"} <= set(names)
    with pytest.raises(
        ParameterError, match="no suite 'pythia-2' and no such file; there are pythia, pythia-deduped"
    ):
        load_suite("pythia-2")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    suite = load_suite(path)
    assert suite.dataset.location == str(tmp_path / "data")
    assert [checkpoint.step for checkpoint in suite.checkpoints()] == [0, 1, 2, 4, 5, 10]
    layout = suite.dataset.layout()
    assert layout is not None
    assert layout.parts[1:] == (("document-00001-of-00002.bin", 100), ("document-00002-of-00002.bin", 40))


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pile-tools suite 2"},
        {"steps": 0},
        {"batch_size": "2"},
        {"seq_length": 3},
        {"order": {"recipe": "best"}},
        {"order": {"recipe": "neox"}},
        {"order": {"receipt": "neox"}},
        {"dataset": {}},
        {"dataset": {**MINE["dataset"], "location": None}},
        {"checkpoints": {}},
        {"checkpoints": {"first": ["a"], "every": 5}},
        {"more": 1},
        {"models": None},
        {"order": {"recipe": "neox", "seeds": [1]}},
        {"order": {"recipe": "neox", "seeds": {"0": "1"}}},
        {"order": {"recipe": "sequential", "location": 5}},
        {"order": {"recipe": "sequential", "num_samples": 0}},
        {"checkpoints": {"first": [0, -4], "every": 5}},
        {"checkpoints": {"first": [10**6], "every": 5}},
        {"checkpoints": {"first": [0], "every": 5, "branch_factor": "ab"}},
    ],
)
def test_files_that_are_no_suite(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE | change))
    with pytest.raises(DataError, match=r"mine\.json: not a suite"):
        load_suite(path)
    path.write_text("{")
    with pytest.raises(DataError, match=r"mine\.json: not a suite"):
        load_suite(path)
