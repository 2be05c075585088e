"""Where the pieces of documents are in a stream, against every sequence of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.errors import DataError
from tests.lookups.conftest import MakeStream
from tests.reference import orders
from tests.reference.asking import sample_tokens
from tests.strategies import document_sizes, stream_shapes
from tests.token_data import GOLDEN


def shown(viewer: BatchViewer, dataset: int | None = None) -> dict[int, list[tuple[int, ...]]]:
    """(step, row, position, offset, n_tokens) of every piece of every document, by document."""
    found: dict[int, list[tuple[int, ...]]] = {}
    for step in range(viewer.steps):
        for row in range(viewer.batch_size):
            for piece in viewer.trace(step, row).to_pylist():
                if piece.get("dataset") != dataset:
                    continue
                place = (step, row, piece["position"], piece["offset"], piece["n_tokens"])
                found.setdefault(piece["document"], []).append(place)
    return found


def pieces_by_token(
    sizes: list[int], seq_length: int, num_samples: int, read: int
) -> list[tuple[int, tuple[int, ...]]]:
    """(document, (position in the stream, position, offset, n_tokens, epoch)), token by token."""
    doc_idx, _, shuffle_idx = orders.neox(sizes, seq_length, num_samples, 1234)
    samples = sample_tokens(sizes, doc_idx.tolist(), seq_length)
    found = []
    for stream in range(read):
        tokens = samples[shuffle_idx[stream]]
        for place in dict.fromkeys(place for place, _ in tokens):
            positions = [position for position, token in enumerate(tokens) if token[0] == place]
            epoch = int((doc_idx[:place] == doc_idx[place]).sum())
            piece = (stream, positions[0], tokens[positions[0]][1], len(positions), epoch)
            found.append((int(doc_idx[place]), piece))
    return found


def places(table: pa.Table) -> list[tuple[int, ...]]:
    names = ("step", "row", "position", "offset", "n_tokens")
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


@settings(max_examples=40)
@given(
    sizes=document_sizes(max_size=12),
    seq_length=st.integers(1, 12),
    num_samples=st.integers(1, 40),
    batch_sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_every_piece_of_every_document(
    sizes: list[int],
    seq_length: int,
    num_samples: int,
    batch_sizes: tuple[int, int],
    make_stream: MakeStream,
) -> None:
    viewer = make_stream(
        [[1] * size for size in sizes],
        seq_length=seq_length,
        num_samples=num_samples,
        batch_size=batch_sizes[0],
        tokenizer=False,
    )
    viewer = BatchViewer.open(viewer.dataset.store.name, batch_size=batch_sizes[1])
    expected = shown(viewer)
    epochs = pieces_by_token(sizes, seq_length, num_samples, viewer.steps * viewer.batch_size)
    for document in range(len(sizes)):
        table = viewer.seen(document)
        assert places(table) == expected.get(document, [])
        rows = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
        pieces = [(step * viewer.batch_size + row, *piece) for step, row, *piece in rows]
        assert pieces == [piece for number, piece in epochs if number == document]
    several = viewer.seen(documents=[*range(len(sizes)), 0, 0])
    rows = zip(several.column("document").to_pylist(), places(several), strict=True)
    ordered = [(place, document) for document in expected for place in expected[document]]
    assert [(place, document) for document, place in rows] == sorted(ordered)
    assert several.column_names == ["document", "step", "row", "position", "offset", "n_tokens", "epoch"]


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=9),
    shape=stream_shapes(),
)
@pytest.mark.parametrize(
    "form", ["megatron-core", "shards", "pread", "blend", "fetched", "fetched megatron-core", "fetched blend"]
)
def test_every_form_of_a_stream(
    form: str, sizes: list[int], shape: tuple[int, int, int], make_stream: MakeStream
) -> None:
    seq_length, batch_size, num_samples = shape
    documents = [[1] * size for size in [3, 3, *sizes]]
    viewer = make_stream(
        documents, seq_length=seq_length, batch_size=batch_size, num_samples=num_samples, form=form
    )
    for part in viewer.stream.parts:
        expected = shown(viewer, part.number)
        for document in range(part.n_documents or 0):
            assert places(viewer.seen(document, dataset=part.number)) == expected.get(document, [])


@pytest.mark.parametrize(("label", "batch_size"), [("40ns_2048sl_1234s", 8), ("900ns_128sl_1234s", 7)])
def test_maps_that_gpt_neox_saved(label: str, batch_size: int) -> None:
    viewer = BatchViewer.open(
        GOLDEN / "neox" / "small_u16", order=f"train_0_indexmap_{label}", batch_size=batch_size
    )
    expected = shown(viewer)
    for document in range(0, viewer.dataset.n_sequences, 7):
        table = viewer.seen(document)
        assert places(table) == expected.get(document, [])
        assert table.schema.types == [pa.int64()] * 6


def test_a_damaged_shuffle_is_met(make_stream: MakeStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pile_tools.stream.components.WHOLE_CHECK", 0)
    viewer = make_stream([[1] * 60], num_samples=10)
    path = Path(viewer.dataset.store.name, viewer.order.file_names()[2])
    shuffle = np.load(path)
    shuffle[1] = shuffle[0]
    np.save(path, shuffle)
    with pytest.raises(DataError, match=r"holds sample \d+ twice"):
        BatchViewer.open(viewer.dataset.store.name).seen(0)
