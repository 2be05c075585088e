"""Overlays on overlays: what a lower one has taken out stays out."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.storage.manifest import Manifest
from pile_tools.stream.opening import open_location
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches


def test_overlays_on_overlays(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text(" he\t she\n")
    (tmp_path / "new.txt").write_text("when he said he saw")
    swap = Intervention(swap=str(tmp_path / "table.tsv"))
    replace = Intervention(replace=[("20", str(tmp_path / "new.txt"))])
    intervene(data, tmp_path / "swapped", swap, from_step=2)
    intervene(tmp_path / "swapped", tmp_path / "both", replace, from_step=0)
    intervene(data, tmp_path / "replaced", replace, from_step=0)
    intervene(tmp_path / "replaced", tmp_path / "other", swap, from_step=2)
    both, other = BatchViewer.open(tmp_path / "both"), BatchViewer.open(tmp_path / "other")
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    he, she = (tokenizer.encode(word).ids[0] for word in (" he", " she"))
    expected = batches(BatchViewer.open(tmp_path / "replaced"))
    expected[2:][expected[2:] == he] = she
    assert np.array_equal(batches(other), expected)
    # The text that was given is shown as it was given where it came after the swap.
    new = np.array(tokenizer.encode("when he said he saw").ids)
    swapped = np.where(new == he, she, new)
    flat = batches(both)[2:].reshape(-1, 33)
    windows = {tuple(row[i : i + len(new)]) for row in flat for i in range(33 - len(new))}
    assert tuple(new) in windows
    assert tuple(swapped) not in windows
    assert Manifest.read(tmp_path / "both").parents[0] == BatchViewer.open(tmp_path / "swapped").identity


def packed_documents(data: Path) -> list[set[int]]:
    """The documents of each sample of the packing."""
    packing = open_location(data, None, "mmap", None).components[0]
    pieces = packing.packed_pieces(np.arange(packing.n_samples))
    return [set(pieces.document[pieces.row == row].tolist()) for row in range(packing.n_samples)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    place=st.integers(0, 660),
    gap=st.integers(2, 12),
    starts=st.tuples(st.integers(0, 150), st.integers(0, 10)),
    move=st.booleans(),
)
@pytest.mark.slow
def test_what_an_overlay_dropped_stays_dropped_above_it(
    data: Path, place: int, gap: int, starts: tuple[int, int], move: bool
) -> None:
    """Samples are filled from the base's packing, which still has the documents: refused, or not shown."""
    shown = packed_documents(data)
    upper = {max(shown[place])}
    # The first other document that follows, after a gap.
    lower = next({max(found)} for found in shown[place + gap :] + shown if max(found) not in upper)
    names = [",".join(map(str, sorted(documents))) for documents in (lower, upper)]
    above = Intervention(move=[(names[1], 10)]) if move else Intervention(drop=[names[1]])
    with TemporaryDirectory() as made:
        one, two = Path(made, "one"), Path(made, "two")
        try:
            intervene(data, one, Intervention(drop=[names[0]]), from_step=starts[0])
            intervene(one, two, above, from_step=starts[1])
        except ParameterError as error:
            refusals = r"packed anew by|which the overlay .* has changed there|none of the|do not fit"
            if re.search(refusals, str(error)):
                return
            raise
        steps = BatchViewer.open(two).seen(documents=sorted(lower)).column("step").to_pylist()
        assert all(step < starts[0] for step in steps)


def test_what_an_overlay_below_took_out_fills_no_sample(data: Path, tmp_path: Path) -> None:
    shown = packed_documents(data)
    # A sample of one document alone: without it, the whole sample is what follows it.
    place = next(n for n in range(9, 99) if len(shown[n]) == 1 and not shown[n] & shown[n + 2])
    [gone] = shown[place]
    after = next(shown[n] - {gone} for n in range(place, 99) if shown[n] != {gone})
    drop = Intervention(drop=[",".join(map(str, after))])
    intervene(data, tmp_path / "dropped", drop, from_step=0)
    assert np.load(tmp_path / "dropped/documents.npy").tolist() == sorted(after)
    with pytest.raises(ParameterError, match="change all documents in one overlay"):
        intervene(tmp_path / "dropped", tmp_path / "o", Intervention(drop=[str(gone)]), from_step=0)
    assert not (tmp_path / "o").exists()


def test_text_is_not_changed_on_top_of_words_of_several_tokens(data: Path, tmp_path: Path) -> None:
    words = Intervention(swap="pronouns", allow_length_change=True)
    intervene(data, tmp_path / "words", words, from_step=4, to_step=6)
    (tmp_path / "table.tsv").write_text(" bread\t milk\n")
    other = Intervention(swap=str(tmp_path / "table.tsv"), allow_length_change=True)
    for intervention in (Intervention(drop=["1,2,3,4,5,6"]), other):
        with pytest.raises(ParameterError, match="has swapped words that are not one token in steps 5:6; "):
            intervene(tmp_path / "words", tmp_path / "o", intervention, from_step=5)
        intervene(tmp_path / "words", tmp_path / f"o{len(intervention.drop)}", intervention, from_step=6)
    (tmp_path / "table.tsv").write_text(" nowhere\t somewhere\n")
    with pytest.raises(ParameterError, match="none of the words is in these steps"):
        intervene(data, tmp_path / "o", other, from_step=5)
    # Text that is re-tokenised above an overlay is filled by the same rule, whatever document it came from.
    intervene(data, tmp_path / "dropped", Intervention(drop=["source:s0"]), from_step=0)
    with pytest.raises(ParameterError, match=r"packed anew by|would be filled with document"):
        intervene(tmp_path / "dropped", tmp_path / "o", words, from_step=0)
