"""A sequence's pieces followed to their texts."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.tokenizer import read_tokenizer
from pile_tools.lookups.trace import SourceTexts, trace_pieces
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.viewer import BatchViewer
from tests.token_data import write_dataset

TEXTS = [f"{number}: ein längerer Satz mit Ü, 漢字 und 😀 — " * (number % 5 + 1) for number in range(30)] + [
    ""
]


@pytest.fixture
def made(tmp_path: Path, demo_corpus: Path) -> Path:
    (tmp_path / "in").mkdir()
    lines = [json.dumps({"text": text, "meta": {"pile_set_name": "A"}}) + "\n" for text in TEXTS]
    (tmp_path / "in/a.jsonl.zst").write_bytes(zstandard.compress("".join(lines[:20]).encode()))
    (tmp_path / "in/b.jsonl").write_text("".join(lines[20:]))
    tokenize([tmp_path / "in"], tmp_path / "tokens", tokenizer=str(demo_corpus))
    make_order(tmp_path / "tokens", seq_length=64, batch_size=4, steps=12)
    return tmp_path


@pytest.mark.slow
def test_spans_are_the_text_of_their_tokens(made: Path) -> None:
    viewer = BatchViewer.open(made / "tokens")
    tokenizer = read_tokenizer(str(made / "tokens")).load()
    for step in range(viewer.steps):
        for row in range(4):
            tokens = viewer.sequence(step, row)
            pieces = trace_pieces(viewer.stream.parts, viewer.trace(step, row), tokens, context=7)
            assert sum(piece.n_tokens for piece in pieces) == 65
            for piece in pieces:
                text = TEXTS[piece.document]
                assert piece.span is not None
                assert piece.original is None
                whole = piece.span.before + piece.span.text + piece.span.after
                assert whole in text
                part = tokens[piece.position : piece.position + piece.n_tokens]
                decoded = tokenizer.decode(part[part != 0].tolist(), skip_special_tokens=False)
                # Characters cut between two pieces are whole in the span and U+FFFD when decoded alone.
                assert decoded.strip("\ufffd") in piece.span.text
                assert len(piece.span.text) - len(decoded.strip("\ufffd")) <= 2
                ends = piece.offset + piece.n_tokens == int(viewer.dataset.index.sizes[piece.document])
                assert (piece.span.after == "") == (ends or text.endswith(piece.span.text))
                assert len(piece.span.before) <= 7


def test_without_a_context_no_text_is_read(made: Path) -> None:
    (made / "in/b.jsonl").unlink()
    viewer = BatchViewer.open(made / "tokens")
    pieces = trace_pieces(viewer.stream.parts, viewer.trace(0, 0), viewer.sequence(0, 0))
    assert {piece.span for piece in pieces} == {None}
    assert {piece.addresses[0].stage for piece in pieces} == {"tokenize"}


def test_eod_alone_has_no_text(made: Path) -> None:
    texts = SourceTexts(TokenDataset.open(made / "tokens"))
    size = 1 + len(read_tokenizer(str(made / "tokens")).load().encode(TEXTS[3]).ids)
    span = texts.span(3, size - 1, np.array([0]), 5)
    assert (span.before, span.text, span.after) == (TEXTS[3][-5:], "", "")
    span = texts.span(30, 0, np.array([0]), 5)
    assert (span.before, span.text, span.after) == ("", "", "")


def test_other_tokens_than_the_text_has(made: Path) -> None:
    texts = SourceTexts(TokenDataset.open(made / "tokens"))
    for offset, tokens in ((0, [5, 6]), (0, [0]), (10_000, [7]), (10_000, [0, 0])):
        with pytest.raises(DataError, match="document 3 does not have these tokens"):
            texts.span(3, offset, np.array(tokens), 5)


def test_a_corpus_that_changed_is_refused(made: Path) -> None:
    path = made / "in/b.jsonl"
    content = path.read_text()
    path.write_text(content.replace("26: ein", "26: EIN"))
    texts = SourceTexts(TokenDataset.open(made / "tokens"))
    assert texts.text(25) == TEXTS[25]
    with pytest.raises(DataError, match=r"b\.jsonl:6: another text than was tokenized"):
        texts.text(26)
    path.write_text(content + "\n")
    with pytest.raises(DataError, match="bytes, but the shard that was tokenized had"):
        texts.text(25)


def test_the_corpus_can_be_named(made: Path) -> None:
    (made / "in").rename(made / "moved")
    with pytest.raises(PileToolsError, match=r"a\.jsonl\.zst: no longer at .*--corpus"):
        SourceTexts(TokenDataset.open(made / "tokens")).text(0)
    assert SourceTexts(TokenDataset.open(made / "tokens"), [made / "moved"]).text(0) == TEXTS[0]
    with pytest.raises(PileToolsError, match=r"a\.jsonl\.zst: not among the 1 shards"):
        SourceTexts(TokenDataset.open(made / "tokens"), [made / "moved/b.jsonl"]).text(0)


def test_datasets_of_other_tools(made: Path) -> None:
    table = pa.table(
        {
            "document": [3],
            "position": [0],
            "offset": [0],
            "n_tokens": [2],
            "shard": pa.nulls(1, pa.string()),
            "shard_row": pa.nulls(1, pa.int64()),
            "source": pa.nulls(1, pa.string()),
        }
    )
    write_dataset(made / "bare", [np.array([1, 2, 3], "<u2")])
    make_order(made / "bare", seq_length=1, batch_size=1, num_samples=1)
    bare = BatchViewer.open(made / "bare").stream.parts
    found = trace_pieces(bare, table, np.array([1, 2]))
    assert (found[0].addresses, found[0].original, found[0].shard) == ((), None, None)
    with pytest.raises(PileToolsError, match="not made by `pile-tools tokenize`, so no source is known"):
        trace_pieces(bare, table, np.array([1, 2]), context=3)
