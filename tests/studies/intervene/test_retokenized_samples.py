"""Samples whose words of several tokens are swapped in the text."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pile_tools import BatchViewer
from pile_tools.errors import (
    ParameterError,
)
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches


def test_words_of_several_tokens_are_listed_and_swapped_in_the_text(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"' himself' → ' herself'.*--allow-length-change"):
        intervene(data, tmp_path / "o", Intervention(swap="pronouns"), from_step=2)
    assert not (tmp_path / "o").exists()
    change = intervene(
        data, tmp_path / "o", Intervention(swap="pronouns", allow_length_change=True), from_step=2
    )
    parent, viewer = BatchViewer.open(data), BatchViewer.open(tmp_path / "o")
    assert change.samples > 10
    assert np.array_equal(batches(viewer)[:2], batches(parent)[:2])
    plain = Tokenizer.from_file(str(data / "tokenizer.json"))
    different = 0
    for step in range(2, viewer.steps):
        for row in range(viewer.batch_size):
            old, new = parent.text(step, row), viewer.text(step, row)
            words = set(new.replace(";", " ").replace(".", " ").split()[1:-1])
            assert not words & {"he", "him", "himself", "his", "He"}
            if "heuristic" in old and len(new) >= len(old):
                assert "heuristic" in new or "heuri" in new[-12:]
            assert "the she" not in new  # a piece that ends in "the he|uristic"
            different += old != new
            if old == new:
                assert np.array_equal(parent.sequence(step, row), viewer.sequence(step, row))
            assert len(viewer.sequence(step, row)) == 33
    assert different == change.samples
    pieces = [p for step in range(2, 6) for row in range(4) for p in viewer.trace(step, row).to_pylist()]
    added = [p for p in pieces if p["document"] >= parent.dataset.n_sequences]
    assert added
    assert all(p["shard"] == "a.jsonl" and p["source"] in {"s0", "s1", "s2"} for p in added)
    assert plain.get_vocab_size() >= batches(viewer).max()
    everything = Intervention(drop=["source:s0", "source:s1"])
    with pytest.raises(ParameterError, match="has swapped words that are not one token"):
        intervene(tmp_path / "o", tmp_path / "p", everything, from_step=2)
