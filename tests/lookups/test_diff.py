"""Differences of two streams, against every token of every step."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.checks.digests import verify_digests
from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.stages.digest import digest
from pile_tools.stages.order.order import make_order
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.viewer import diff, open_named
from tests.lookups.conftest import MakeStream, directory_of
from tests.token_data import write_dataset

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(40)]


@settings(max_examples=40)
@given(
    changes=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 6)), max_size=4),
    forms=st.tuples(st.sampled_from(["neox", "shards"]), st.sampled_from(["<u2", "<i4"])),
    digested=st.booleans(),
    limit=st.sampled_from([0, 2, 100]),
)
def test_every_difference(
    changes: list[tuple[int, int]],
    forms: tuple[str, str],
    digested: bool,
    limit: int,
    make_stream: MakeStream,
) -> None:
    changed = [list(document) for document in DOCUMENTS]
    for document, token in changes:
        changed[document][token % len(changed[document])] = 12
    one = make_stream(DOCUMENTS, num_samples=40, form=forms[0], provenance=True)
    two = make_stream(changed, num_samples=40, dtype=forms[1], provenance=True)
    if digested:
        digest(one)
        digest(two)
        one, two = BatchViewer.open(directory_of(one)), BatchViewer.open(directory_of(two))
    found = diff(one, two, limit=limit)
    masks = [one.batch(step) != two.batch(step) for step in range(20)]
    differing = [step for step in range(20) if masks[step].any()]
    assert found.differing.tolist() == differing
    assert found.first_step == (differing[0] if differing else None)
    assert [step for start, stop in found.ranges for step in range(start, stop)] == differing
    assert found.by == ("digests" if digested and forms[1] == "<u2" else "tokens")
    detailed = differing[:limit]
    assert found.detailed == len(detailed)
    assert [tuple(row.values()) for row in found.sequences.to_pylist()] == [
        (step, row, int(mask.argmax()), int(mask.sum()))
        for step in detailed
        for row, mask in enumerate(masks[step])
        if mask.any()
    ]
    for name, viewer in (("a", one), ("b", two)):
        expected: Counter[int] = Counter()
        for step in detailed:
            for row, mask in enumerate(masks[step]):
                for piece in viewer.trace(step, row).to_pylist():
                    start = piece["position"]
                    expected[piece["document"]] += int(mask[start : start + piece["n_tokens"]].sum())
        rows = [row for row in found.documents.to_pylist() if row["stream"] == name]
        assert {row["document"]: row["n_tokens"] for row in rows} == dict(+expected)
        for row in rows:
            assert (row["shard"], row["shard_row"]) == (
                f"{row['document'] // 20}.jsonl",
                row["document"] % 20,
            )
            assert row["source"] == ["Web", None, "Code"][row["document"] % 3]


def test_streams_of_different_lengths(make_stream: MakeStream) -> None:
    one = make_stream(DOCUMENTS, num_samples=40)
    make_order(directory_of(one), seq_length=5, batch_size=2, num_samples=36, name="short")
    two = BatchViewer.open(directory_of(one), order="short")
    found = diff(BatchViewer.open(directory_of(one), order="train_0"), two)
    assert (found.steps, found.spans, found.first_step) == ((0, 18), ((0, 20), (0, 18)), None)
    assert diff(one, two, steps=(3, 9)).steps == (3, 9)
    with pytest.raises(OutOfRangeError, match="no steps 0:19"):
        diff(one, two, steps=(0, 19))


def test_another_order_of_the_same_dataset(make_stream: MakeStream) -> None:
    one = make_stream(DOCUMENTS, num_samples=40)
    directory = directory_of(one)
    make_order(directory, seq_length=5, batch_size=2, num_samples=40, seed=9, output=directory / "elsewhere")
    two = open_named(str(directory / "elsewhere"), str(directory))
    found = diff(one, two)
    assert found.differing.tolist() == [
        step for step in range(20) if not np.array_equal(one.batch(step), two.batch(step))
    ]
    assert len(found.differing) > 10
    assert open_named(str(directory), "nowhere").identity == one.identity
    assert open_named(str(directory / "document"), "nowhere").identity == one.identity
    assert open_named("train_0", str(directory)).identity == one.identity


def test_what_an_intervention_changes(make_stream: MakeStream, tmp_path: Path) -> None:
    viewer = make_stream(DOCUMENTS, num_samples=40)
    (tmp_path / "swap.tsv").write_text("c\tb\n")
    overlay = tmp_path / "overlay"
    intervene(
        directory_of(viewer), overlay, Intervention(swap=str(tmp_path / "swap.tsv")), from_step=4, to_step=9
    )
    changed = open_named(str(overlay), "nowhere")
    found = diff(viewer, changed)
    assert found.differing.tolist() == [step for step in range(4, 9) if 6 in viewer.batch(step)]
    documents = {row["document"] for row in found.documents.to_pylist()}
    assert documents <= {number for number, document in enumerate(DOCUMENTS) if 6 in document}
    # The digests of the changed stream are its own, and the parent's stay what they were.
    parent = digest(viewer).record
    summary = digest(changed)
    assert summary.path.parent == overlay
    assert summary.record.root != parent.root
    assert diff(BatchViewer.open(directory_of(viewer)), changed).by == "digests"
    assert verify_digests(BatchViewer.open(directory_of(viewer)).stream)
    assert verify_digests(changed.stream)


def test_a_blend_and_what_documents_are_not_known(make_stream: MakeStream, tmp_path: Path) -> None:
    blend = make_stream(DOCUMENTS, num_samples=12, form="blend", provenance=True)
    rows = [row.copy() for step in range(blend.steps) for row in blend.batch(step)]
    rows[5][2] = 9 if rows[5][2] != 9 else 8
    write_dataset(tmp_path, rows)
    flat = BatchViewer.open(tmp_path, order="sequential", batch_size=2)
    found = diff(blend, flat)
    assert found.sequences.to_pylist() == [{"step": 2, "row": 1, "position": 2, "n_tokens": 1}]
    piece = next(
        piece
        for piece in blend.trace(2, 1).to_pylist()
        if piece["position"] <= 2 < piece["position"] + piece["n_tokens"]
    )
    assert [
        (row["stream"], row["dataset"], row["document"], row["shard"]) for row in found.documents.to_pylist()
    ] == [("a", piece["dataset"], piece["document"], piece["shard"])]


def test_streams_that_cannot_be_compared(make_stream: MakeStream, tmp_path: Path) -> None:
    one = make_stream(DOCUMENTS)
    with pytest.raises(ParameterError, match=r"of 2 and of 3 sequences cannot be compared.*--batch-size"):
        diff(one, make_stream(DOCUMENTS, batch_size=3))
    # No batch size would help.
    for other in (make_stream(DOCUMENTS, seq_length=4), make_stream(DOCUMENTS, seq_length=4, batch_size=3)):
        with pytest.raises(ParameterError, match="lengths 5 and 4: streams of different") as caught:
            diff(one, other)
        assert "batch" not in str(caught.value)
    with pytest.raises(ParameterError, match="share none"):
        diff(one, make_stream(DOCUMENTS, num_samples=1))
    with pytest.raises(ParameterError, match="limit -1"):
        diff(one, one, limit=-1)
