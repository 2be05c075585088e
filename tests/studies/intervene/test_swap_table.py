"""Tables of words to be swapped: in the ids of a tokenizer, and lines that are none."""

import pickle
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from pile_tools import BatchViewer
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches


def test_one_token_is_swapped_for_one_in_the_range_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("# a comment\n he\t she\n\n the\t his\n")
    parent = BatchViewer.open(data)
    stop = parent.steps - 2
    change = intervene(
        data, tmp_path / "o", Intervention(swap=str(tmp_path / "table.tsv")), from_step=3, to_step=stop
    )
    assert (change.swaps, change.words, change.samples) == (2, 0, 0)
    viewer = BatchViewer.open(tmp_path / "o")
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    ids = {word: tokenizer.encode(word).ids[0] for word in (" he", " she", " the", " his")}
    expected = batches(parent)
    inner = expected[3:stop]
    old = inner.copy()
    inner[old == ids[" he"]] = ids[" she"]
    inner[old == ids[" the"]] = ids[" his"]
    assert (old != inner).any()
    assert np.array_equal(batches(viewer), expected)
    same = [step for step in range(parent.steps) if viewer.step_digest(step) == parent.step_digest(step)]
    assert {*range(3), *range(stop, parent.steps)} <= set(same)
    assert viewer.identity != parent.identity
    assert np.array_equal(pickle.loads(pickle.dumps(viewer)).batch(4), viewer.batch(4))
    assert viewer.trace(4, 1).equals(parent.trace(4, 1))
    assert not list((tmp_path / "o").glob("*.bin"))
    half = BatchViewer.open(tmp_path / "o", batch_size=2)
    assert np.array_equal(half.batch(9), viewer.batch(4)[2:])
