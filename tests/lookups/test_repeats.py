"""Repeats, against the inputs of every sequence, token by token."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.algorithms.orders import exposure
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.stages.order.blend import make_blend
from tests.lookups.conftest import MakeStream
from tests.lookups.test_mixture import inputs
from tests.reference import orders
from tests.reference.asking import sample_tokens
from tests.strategies import document_sizes, stream_shapes
from tests.token_data import write_dataset


def by_kind(table: pa.Table) -> dict[tuple[int, str], Counter[int]]:
    found: dict[tuple[int, str], Counter[int]] = {}
    for row in table.to_pylist():
        found.setdefault((row["checkpoint"], row["kind"]), Counter())[row["times"]] = row["count"]
    return found


@settings(max_examples=60)
@given(
    sizes=document_sizes(largest=20, max_size=9),
    shape=stream_shapes(most=40),
    every=st.one_of(st.none(), st.integers(1, 5)),
    block=st.sampled_from([1, 3, 1 << 22]),
)
def test_repeats(
    sizes: list[int],
    shape: tuple[int, int, int],
    every: int | None,
    block: int,
    make_stream: MakeStream,
) -> None:
    seq_length, batch_size, num_samples = shape
    viewer = make_stream(
        [[1] * size for size in sizes],
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        tokenizer=False,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exposure, "_BLOCK", block)
        found = by_kind(viewer.repeats(every=every))
    doc_idx, _, shuffle_idx = orders.neox(sizes, seq_length, num_samples, 1234)
    samples = sample_tokens(sizes, doc_idx.tolist(), seq_length)
    tokens: Counter[tuple[int, int]] = Counter()
    places: set[int] = set()
    marks = sorted({checkpoint for checkpoint, _ in found})
    assert marks == [*range(every or viewer.steps, viewer.steps, every or 1), viewer.steps][-len(marks) :]
    for step in range(viewer.steps):
        for sample in shuffle_idx[step * batch_size : (step + 1) * batch_size]:
            for place, offset in samples[sample][:-1]:
                tokens[int(doc_idx[place]), offset] += 1
                places.add(place)
        if step + 1 in marks:
            documents = Counter(int(doc_idx[place]) for place in places)
            for kind, times, total in (
                ("tokens", Counter(tokens.values()), sum(sizes)),
                ("documents", Counter(documents.values()), len(sizes)),
                ("samples", Counter({1: (step + 1) * batch_size}), len(samples)),
            ):
                times[0] = total - sum(times.values())
                assert +found[step + 1, kind] == +times
                assert 0 in found[step + 1, kind]


@settings(max_examples=40)
@given(
    sizes=document_sizes(largest=20, max_size=9),
    shape=stream_shapes(fewest=4, most=40),
    weights=st.lists(st.sampled_from(["0.5", "0.3", "1.7", "4"]), min_size=2, max_size=4),
    copied=st.booleans(),
    recipe=st.sampled_from(["neox", "megatron-core"]),
)
@pytest.mark.slow
def test_a_dataset_that_a_blend_lists_twice(
    sizes: list[int],
    shape: tuple[int, int, int],
    weights: list[str],
    copied: bool,
    recipe: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("blend")
    seq_length, batch_size, num_samples = shape
    # The third of them is another dataset, and the last one may lie elsewhere.
    every_size = [sizes, sizes, [5, 6], sizes][: len(weights)]
    places = [directory / name for name in ("a", "a", "b", "copy" if copied else "a")][: len(weights)]
    for place, own in zip(places, every_size, strict=True):
        write_dataset(place, [np.full(size, place == directory / "b", "<u2") for size in own])
    make_blend(
        places,
        weights,
        directory / "blend",
        seq_length=seq_length,
        batch_size=batch_size,
        num_samples=num_samples,
        recipe=recipe,
    )
    viewer = BatchViewer.open(directory / "blend")
    found = by_kind(viewer.repeats(every=2))
    maps = [maps for part in viewer.stream.parts if (maps := part.maps()) is not None]
    samples = [
        sample_tokens(own, one.doc_idx.tolist(), seq_length)
        for one, own in zip(maps, every_size, strict=True)
    ]
    packings = [(number == 2, str(rows), str(maps[number].doc_idx.tolist()))
                for number, rows in enumerate(samples)]  # fmt: skip
    tokens: Counter[object] = Counter()
    rows_read: Counter[object] = Counter()
    read: set[tuple[int, int]] = set()
    for step in range(viewer.steps):
        which, numbers = viewer.stream.samples_at(np.arange(step * batch_size, (step + 1) * batch_size))
        for part, number in zip(which.tolist(), numbers.tolist(), strict=True):
            row = int(maps[part].shuffle_idx[number])
            rows_read[packings[part], row] += 1
            for place, offset in samples[part][row][:-1]:
                tokens[part == 2, int(maps[part].doc_idx[place]), offset] += 1
                read.add((part, place))
        if (step + 1, "tokens") not in found:
            continue
        documents = Counter((part == 2, int(maps[part].doc_idx[place])) for part, place in read)
        datasets = [sizes, [5, 6]] if len(weights) > 2 else [sizes]
        packed = dict(zip(packings, samples, strict=True))
        for kind, counted, total in (
            ("tokens", tokens, sum(map(sum, datasets))),
            ("documents", documents, sum(map(len, datasets))),
            ("samples", rows_read, sum(map(len, packed.values()))),
        ):
            times = Counter(counted.values())
            times[0] = total - len(counted)
            assert +found[step + 1, kind] == +times


def test_a_dataset_blended_with_itself_in_two_ways(
    make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_stream([[1] * 30, [1] * 30], form="blend")
    monkeypatch.setattr(viewer.stream.parts[1], "maps", lambda: None)
    with pytest.raises(PileToolsError, match="blended with itself once by maps and once in its own order"):
        viewer.repeats()


def test_no_step_at_all(make_stream: MakeStream) -> None:
    viewer = make_stream([[1] * 20], num_samples=3, batch_size=1)
    assert BatchViewer.open(viewer.dataset.store.name, batch_size=4).repeats().to_pylist() == [
        {"checkpoint": 0, "kind": kind, "times": 0, "count": count}
        for kind, count in (("documents", 1), ("samples", 3), ("tokens", 20))
    ]


@pytest.mark.parametrize(
    "form",
    ["megatron-core", "blend", "pread", "sequential", "fetched", "fetched sequential", "fetched blend"],
)
def test_repeats_of_every_form(form: str, make_stream: MakeStream) -> None:
    documents = [[1] * size for size in (9, 4, 0, 17, 3, 8, 2, 30, 5)]
    viewer = make_stream(documents, form=form, num_samples=40)
    kinds = by_kind(viewer.repeats(every=3))
    read = viewer.steps * viewer.batch_size
    seen = sum(times * count for times, count in kinds[viewer.steps, "tokens"].items())
    assert seen == read * viewer.seq_length
    assert kinds[viewer.steps, "samples"][1] == read
    tokens: Counter[object] = Counter()
    for step in range(viewer.steps):
        for piece in inputs(viewer, step):
            span = range(piece["offset"] or 0, (piece["offset"] or 0) + (piece["n_tokens"] or 0))
            tokens.update((piece.get("dataset"), piece["document"], token) for token in span)
    if form.endswith("sequential"):
        assert (viewer.steps, "documents") not in kinds
        assert viewer.stream.parts[0].n_documents is None
        return
    times = Counter(tokens.values())
    times[0] = sum(map(len, documents)) - len(tokens)
    assert +kinds[viewer.steps, "tokens"] == +times
    assert sum(kinds[viewer.steps, "documents"].values()) == len(documents)


def test_every_needs_a_step(make_stream: MakeStream) -> None:
    with pytest.raises(ParameterError, match="every 0"):
        make_stream([[1] * 30]).repeats(every=0)
