"""What commands say before it costs hours: many epochs, empty changes, missing history, steps of names."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.errors import DataError
from pile_tools.stages.order import MANY_EPOCHS, make_order
from pile_tools.studies.intervene import Intervention, intervene
from pile_tools.studies.model_name import ModelName
from pile_tools.viewer.fetch import fetch_steps
from tests.lookups.conftest import save_small_tokenizer, write_provenance
from tests.token_data import random_documents, write_dataset

SIZES = [11, 5, 17, 8, 23, 9, 14, 30, 6, 12]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data", random_documents(4, SIZES))
    return tmp_path / "data"


@pytest.mark.parametrize(("steps", "epochs"), [(32, 4), (34, 5), (400, 48)])
def test_order_says_how_far_one_of_many_epochs_reaches(
    steps: int, epochs: int, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "order",
        str(data),
        "--seq-length",
        "8",
        "--batch-size",
        "2",
        "--steps",
        str(steps),
        "--json",
    ]
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    in_epoch = (sum(SIZES) - 1) // 8 // 2
    assert (said["epochs"], said["steps_in_epoch"]) == (epochs, in_epoch)
    assert (f"{epochs} epochs; one epoch has {in_epoch} steps of 2" in err) is (epochs > MANY_EPOCHS)


def test_so_does_a_blend_of_each_of_its_datasets(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(data.parent / "large", random_documents(5, [90] * 60))
    blend = ["--data", str(data), "--weight", "1", "--data", str(data.parent / "large"), "--weight", "1"]
    shape = ["--seq-length", "8", "--batch-size", "2", "--steps", "200", "-o", str(data.parent / "blend")]
    assert run(["order", *blend, *shape]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "document_train_0" in warnings[0]


@pytest.mark.parametrize("swaps", [True, False])
def test_a_fork_says_how_many_of_its_sequences_are_changed(
    swaps: bool,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_order(data, seq_length=8, batch_size=2, steps=8)
    parent = BatchViewer.open(data)
    document = parent.trace(3, 0).to_pylist()[0]["document"]
    intervene(data, tmp_path / "overlay", Intervention(drop=[str(document)]), from_step=3, to_step=4)
    viewer = BatchViewer.open(tmp_path / "overlay")
    start = 2 if swaps else 4  # the changes are before the steps of the second fork
    expected = sum(
        int((viewer.batch(step) != parent.batch(step)).any(axis=1).sum()) for step in range(start, 8)
    )
    assert bool(expected) is swaps
    assert viewer.is_counterfactual
    assert not parent.is_counterfactual
    assert viewer.changed_sequences(start, 8) == expected

    def train(viewer: Any, output: Any, *, on_start: Any, **settings: Any) -> Any:
        on_start(
            SimpleNamespace(
                steps_done=start, steps=8, parameters=1, processes=1, device="cpu", flops_per_token=1,
                peak_flops=1.0, peak_origin="none",
            )
        )  # fmt: skip
        raise DataError("far enough")

    monkeypatch.setattr("pile_tools.train.train", train)
    monkeypatch.setattr("pile_tools.train.check_fork_batch_size", lambda source, viewer: None)
    (tmp_path / "step").mkdir()
    assert (
        run(["train", "--data", str(tmp_path / "overlay"), "--from", str(tmp_path / "step"), "-o", "x"]) == 3
    )
    err = capsys.readouterr().err
    if swaps:
        assert f"{expected} of 12 sequences of steps 2:8 are changed" in err
    else:
        assert "none of the 8 sequences of steps 4:8 is changed" in err


def test_fetch_names_the_remedy_before_it_reads(tmp_path: Path, demo_tokens: Path) -> None:
    shutil.rmtree(demo_tokens / "parents")
    viewer = BatchViewer.open(demo_tokens)
    viewer.batch = None  # type: ignore[method-assign, assignment]
    with pytest.raises(DataError, match=r"parents/.*: missing; .*--tokens-only"):
        fetch_steps(viewer, 0, 2, tmp_path / "steps")
    assert not (tmp_path / "steps").exists()
    fetch_steps(BatchViewer.open(demo_tokens), 0, 2, tmp_path / "steps", tokens_only=True)


@pytest.fixture
def demo_tokens(tmp_path: Path, demo_corpus: Path) -> Path:
    """A token dataset of a deduplicated corpus, so that it has ancestors."""
    kept, tokens = str(tmp_path / "kept"), str(tmp_path / "tokens")
    assert run(["dedup", str(demo_corpus), "-o", kept, "--workers", "1"]) == 0
    tokenizer = str(demo_corpus / "tokenizer.json")
    assert run(["tokenize", kept, "-o", tokens, "--tokenizer", tokenizer, "--workers", "1"]) == 0
    make_order(tokens, seq_length=64, batch_size=2, steps=4)
    return tmp_path / "tokens"


def test_mixture_of_fetched_steps_has_sources_that_they_do_not_show(tmp_path: Path) -> None:
    sizes = [40, 2, 3]  # Web, none and Code; the one sample that is read is of the first
    write_dataset(tmp_path / "data", [np.full(size, 1, "<u2") for size in sizes])
    write_provenance(tmp_path / "data", sizes)
    save_small_tokenizer(tmp_path / "data" / "tokenizer.json")
    make_order(tmp_path / "data", seq_length=5, batch_size=1, steps=1)
    whole = BatchViewer.open(tmp_path / "data")
    fetch_steps(whole, 0, 1, tmp_path / "steps")
    fetch_steps(BatchViewer.open(tmp_path / "steps"), 0, 1, tmp_path / "again")
    rows = whole.mixture().to_pylist()
    assert {row["source"] for row in rows} == {"Web", "Code", None}
    assert 0 in [row["tokens"] for row in rows]
    for name in ("steps", "again"):
        assert BatchViewer.open(tmp_path / name).mixture().to_pylist() == rows


def test_a_step_in_a_name_is_read_by_the_rule_of_its_suite(tmp_path: Path) -> None:
    """Models of the first versions took steps of 2048, and their branches have doubled numbers."""
    for name, steps in (
        ("EleutherAI/pythia-70m@step3000", 3000),
        ("EleutherAI/pythia-160m-v0@step3000", 1500),
        ("eleutherai/Pythia-1.4B-v0@step1000", 500),
        ("EleutherAI/pythia-160m-v0@step1001", None),
        ("EleutherAI/pythia-160m-v0@main", None),
        ("me/pythia-160m-v0@step3000", 3000),
    ):
        assert ModelName.parse(name).steps() == steps
    assert ModelName.parse("EleutherAI/pythia-410m-v0", "step2000").steps() == 1000
    for folder, steps in (("run/step512", 512), ("pythia-160m-v0/step512", 256)):
        (tmp_path / folder).mkdir(parents=True)
        assert ModelName.parse(str(tmp_path / folder)).steps() == steps
