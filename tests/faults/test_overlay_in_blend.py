"""Blends that read a dataset through an overlay, and orders of overlays."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.order_record import parse_record
from pile_tools.stages.blend import make_blend
from pile_tools.stages.order import make_order
from pile_tools.stages.overlay_order import make_overlay_order
from pile_tools.studies.intervene import Intervention, intervene
from pile_tools.viewer.export import export_steps
from pile_tools.viewer.fetch import fetch_steps
from tests.lookups.conftest import VOCABULARY, save_small_tokenizer, write_provenance
from tests.token_data import write_dataset

SHAPE: dict[str, Any] = {"seq_length": 6, "batch_size": 2, "steps": 9}
STEPS, END = 9, len(VOCABULARY) - 1


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Two token datasets with sources and a tokenizer."""
    locations = [tmp_path / "a", tmp_path / "b"]
    for seed, location in enumerate(locations):
        generator = np.random.RandomState(seed)
        sizes = generator.randint(2, 16, 14).tolist()
        documents = [np.append(generator.randint(0, 8, size - 1), END).astype("<u2") for size in sizes]
        write_dataset(location, documents)
        write_provenance(location, sizes)
        save_small_tokenizer(location / "tokenizer.json")
    return locations


def blend(parts: list[Path], output: Path) -> BatchViewer:
    said: list[str] = []
    make_blend(parts, ["1", "2"], output, say=said.append, **SHAPE)
    assert said == []
    return BatchViewer.open(output)


def change(parts: list[Path], changed_part: int, before: Path, kind: str, output: Path) -> BatchViewer:
    """Make the overlay of one dataset of the blend ``before``, in the order that the blend has made of it."""
    record = parse_record((before / "order.json").read_bytes(), "order.json")
    order = before / "orders" / record.parts[changed_part].order  # type: ignore[union-attr]
    if kind == "swap":
        table = output.parent / "table.tsv"
        table.write_text("a\tc\n")
        intervention = Intervention(swap=str(table))
    else:
        document = BatchViewer.open(parts[changed_part], order=order).trace(1, 0).to_pylist()[0]["document"]
        intervention = Intervention(drop=[str(document)])
    intervene(parts[changed_part], output, intervention, from_step=1, order=str(order))
    return BatchViewer.open(output)


@pytest.mark.parametrize("changed_part", [0, 1])
@pytest.mark.parametrize("kind", ["drop", "swap"])
def test_the_remedy_for_a_blend_is_to_blend_its_overlay(
    changed_part: int, kind: str, parts: list[Path], tmp_path: Path
) -> None:
    old = blend(parts, tmp_path / "old")
    overlay = change(parts, changed_part, tmp_path / "old", kind, tmp_path / "overlay")
    locations = [*parts]
    locations[changed_part] = tmp_path / "overlay"
    new = blend(locations, tmp_path / "new")
    # Sample by sample: which dataset, and which of its samples, are those of the blend as it was.
    names = ("dataset_index", "dataset_sample_index")
    which, samples = (np.load(next((tmp_path / "old").glob(f"*_{name}.npy"))) for name in names)
    own = BatchViewer.open(tmp_path / "overlay", batch_size=1)
    changed = 0
    for position in range(STEPS * 2):
        step, row = divmod(position, 2)
        expected = old.sequence(step, row)
        if which[position] == changed_part and samples[position] < own.steps:
            changed += int(not np.array_equal(expected, own.batch(int(samples[position]))[0]))
            expected = own.batch(int(samples[position]))[0]
        np.testing.assert_array_equal(new.sequence(step, row), expected)
    assert changed > 0
    assert new.identity != old.identity
    assert overlay.is_counterfactual
    assert new.is_counterfactual
    assert new.changed_sequences(0, STEPS) == changed
    check_lookups(new, tmp_path)


def check_lookups(viewer: BatchViewer, tmp_path: Path) -> None:
    """Every question gets the answer that the rows themselves give."""
    tables = {
        (step, row): viewer.trace(step, row).to_pylist() for step in range(viewer.steps) for row in range(2)
    }
    for dataset in (0, 1):
        part = viewer.parts[dataset]
        pieces = Counter(
            (piece["document"], step, row, piece["position"], piece["n_tokens"])
            for (step, row), table in tables.items()
            for piece in table
            if piece["dataset"] == dataset
        )
        rows = viewer.occurrences(documents=range(part.n_documents or 0), dataset=dataset).to_pylist()
        keys = ("document", "step", "row", "position", "n_tokens")
        assert Counter(tuple(row[key] for key in keys) for row in rows) == pieces
    for ids in ([0], [6, 1], [3, END]):
        expected = [
            (step, row, at)
            for step, row in tables
            for at in range(len(viewer.sequence(step, row)) - len(ids) + 1)
            if viewer.sequence(step, row)[at : at + len(ids)].tolist() == ids
        ]
        matches = viewer.find(tokens=ids).to_pylist()
        assert [(match["step"], match["row"], match["position"]) for match in matches] == expected
    sources: Counter[str | None] = Counter()
    for table in tables.values():
        for piece in table:
            sources[piece["source"]] += min(piece["position"] + piece["n_tokens"], 6) - piece["position"]
    mixture = {row["source"]: row["tokens"] for row in viewer.mixture().to_pylist()}
    assert mixture == {name: sources[name] for name in mixture}
    viewer.make_digests()
    assert run(["verify", str(tmp_path / "new")]) == 0
    export_steps(viewer, tmp_path / "all.npy", form="npy")
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), list(viewer.batches(0, viewer.steps)))
    fetch_steps(viewer, 1, 5, tmp_path / "steps")
    steps = BatchViewer.open(tmp_path / "steps")
    assert [steps.digest(step) for step in range(1, 5)] == [viewer.digest(step) for step in range(1, 5)]
    assert steps.trace(2, 1).to_pylist() == tables[2, 1]


def test_a_blend_refuses_another_overlay_than_it_was_made_with(parts: list[Path], tmp_path: Path) -> None:
    blend(parts, tmp_path / "old")
    change(parts, 0, tmp_path / "old", "drop", tmp_path / "overlay")
    blend([tmp_path / "overlay", parts[1]], tmp_path / "new")
    (tmp_path / "overlay").rename(tmp_path / "first")
    with pytest.raises(DataError, match=r"overlay: the blend in .* but no overlay is there"):
        BatchViewer.open(tmp_path / "new")
    change(parts, 0, tmp_path / "old", "swap", tmp_path / "overlay")
    with pytest.raises(DataError, match="make the blend again"):
        BatchViewer.open(tmp_path / "new")
    assert run(["verify", str(tmp_path / "new")]) == 3


def test_what_may_not_be_meant_is_said(parts: list[Path], tmp_path: Path) -> None:
    make_order(parts[0], seq_length=6, batch_size=2, steps=30, seed=5)
    table = tmp_path / "table.tsv"
    table.write_text("a\tc\n")
    intervene(parts[0], tmp_path / "overlay", Intervention(swap=str(table)), from_step=1)
    said: list[str] = []
    make_blend([tmp_path / "overlay", parts[1]], ["1", "2"], tmp_path / "new", say=said.append, **SHAPE)
    assert len(said) == 1
    assert "in its own order document_train_0_indexmap_60ns_6sl_5s, which is not the one" in said[0]
    assert BatchViewer.open(tmp_path / "new").steps == STEPS
    refused = (({"seq_length": 7}, "of 6 tokens, not of 7"), ({"steps": 400}, "samples of it are read"))
    for shape, message in refused:
        with pytest.raises(ParameterError, match=message):
            make_blend([tmp_path / "overlay", parts[1]], ["1", "2"], tmp_path / "x", **SHAPE | shape)
    assert not (tmp_path / "x").exists()


def test_an_overlay_gets_orders_of_its_own(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_order(parts[0], seq_length=6, batch_size=2, steps=9)
    (tmp_path / "table.tsv").write_text("a\tc\n")
    intervene(parts[0], tmp_path / "overlay", Intervention(swap=str(tmp_path / "table.tsv")), from_step=4)
    before = BatchViewer.open(tmp_path / "overlay")
    batches = np.concatenate(list(before.batches(0, 9)))
    assert run(["order", str(tmp_path / "overlay"), "--batch-size", "3", "--steps", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["batch_size"], said["steps"], said["seq_length"]) == (3, 2, 6)
    viewer = BatchViewer.open(tmp_path / "overlay")
    assert (viewer.batch_size, viewer.steps) == (3, 2)
    assert viewer.identity == before.identity
    np.testing.assert_array_equal(np.concatenate(list(viewer.batches(0, 2))), batches[:6])
    make_overlay_order(tmp_path / "overlay", name="long", batch_size=9)
    with pytest.raises(ParameterError, match="several orders; name one"):
        BatchViewer.open(tmp_path / "overlay")
    long = BatchViewer.open(tmp_path / "overlay", order="long")
    np.testing.assert_array_equal(long.batch(1), batches[9:18])
    for arguments in (["--seed", "3"], ["--seq-length", "5"], ["--steps", "4000"], ["--num-samples", "4000"]):
        assert run(["order", str(tmp_path / "overlay"), *arguments]) == 2
    # A blend reads the samples of the overlay whatever its own orders are.
    make_blend([tmp_path / "overlay", parts[1]], ["1", "2"], tmp_path / "new", **SHAPE)
    assert BatchViewer.open(tmp_path / "new").steps == STEPS
