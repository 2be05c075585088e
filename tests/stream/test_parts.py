"""A dataset in its order, as a part of a stream: its samples, and the positions at which they are read."""

import numpy as np
import pytest

from pile_tools.stream.parts import same_documents
from tests.lookups.conftest import FORMS, MakeStream

DOCUMENTS = [[number % 11] * (number % 7 + 1) for number in range(40)]


@pytest.mark.parametrize("form", FORMS)
def test_each_position_of_a_stream_reads_one_sample_of_one_part(form: str, make_stream: MakeStream) -> None:
    stream = make_stream(DOCUMENTS, num_samples=22, provenance=True, form=form).stream
    read = np.full(stream.steps * stream.batch_size, -1)
    tokens = np.concatenate([stream.batch(step) for step in range(stream.first_step, stream.steps)])
    for index, part in enumerate(stream.parts):
        assert part.number == (index if "blend" in form else None)
        positions = part.positions(np.arange(part.samples))
        seen = positions[(positions >= 0) & (positions < len(read))]
        assert np.all(read[seen] == -1)
        read[seen] = index
        samples = np.flatnonzero((positions >= 0) & (positions < len(read)))
        assert np.array_equal(part.tokens(samples), tokens[seen])
    assert np.all(read >= 0)


@pytest.mark.parametrize("form", ["neox", "megatron-core", "shards", "pread", "blend"])
def test_the_file_is_read_in_its_own_order(form: str, make_stream: MakeStream) -> None:
    stream = make_stream(DOCUMENTS, num_samples=22, form=form).stream
    for number, part in enumerate(stream.parts):
        documents = DOCUMENTS[number :: len(stream.parts)]
        tokens = [token for document in documents for token in document]
        assert part.n_tokens == len(tokens)
        assert part.n_documents == len(documents)
        for start, stop in ((0, len(tokens)), (3, 4), (5, 20), (7, 7)):
            assert part.read(start, stop).tolist() == tokens[start:stop]
        sizes = part.document_tokens(np.array([3, 0, 3]))
        assert sizes.tolist() == [len(documents[3]), len(documents[0]), len(documents[3])]


def test_pieces_of_samples_are_their_tokens(make_stream: MakeStream) -> None:
    (part,) = make_stream(DOCUMENTS, num_samples=22).stream.parts
    samples = np.array([5, 0, 21])
    pieces = part.pieces(samples)
    tokens = part.tokens(samples)
    spans = [
        DOCUMENTS[document][offset : offset + n]
        for document, offset, n in zip(pieces.document, pieces.offset, pieces.n_tokens, strict=True)
    ]
    assert [token for span in spans for token in span] == tokens.reshape(-1).tolist()
    assert len(part.epochs(samples)) == len(pieces.document)


def test_sources_and_documents_without_an_overlay(make_stream: MakeStream) -> None:
    (part,) = make_stream(DOCUMENTS, num_samples=22, provenance=True).stream.parts
    assert set(part.sources()) == {"Web", None, "Code"}
    assert part.below() is None
    assert same_documents(part) is part
    (bare,) = make_stream(DOCUMENTS, num_samples=22).stream.parts
    assert (bare.provenance(), bare.sources(), bare.history()) == (None, (), None)
