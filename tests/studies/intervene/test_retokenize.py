from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools import BatchViewer
from pile_tools.errors import ParameterError
from pile_tools.studies.intervene.intervene import Intervention, intervene
from pile_tools.studies.intervene.retokenize import CONTEXT_TOKENS, Retokenizer
from tests.studies.intervene.conftest import batches


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=262, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([" he she"] * 9, trainer)
    return made


@pytest.mark.parametrize(
    "text",
    ["it heats he", "the he é heé éhe he", " he, he", "éhé he 語he語 he", "he<|endoftext|>he ats", "a he"],
)
def test_a_word_is_whole_in_its_document_wherever_a_piece_is_cut(tokenizer: Tokenizer, text: str) -> None:
    """The words that change in a piece are those that change in the whole text, and lie in the piece."""
    ids = tokenizer.encode(text).ids
    change = Retokenizer([(" he", " she"), ("he", "she")], tokenizer, np.dtype("u2"))
    everything = change(np.array(ids))
    assert everything is not None
    expected = tokenizer.decode(everything.tolist(), skip_special_tokens=False).count("she")
    for cut in range(1, len(ids)):
        pieces = ids[:cut], ids[cut:]
        contexts = ([], ids[cut:][:CONTEXT_TOKENS]), (ids[:cut][-CONTEXT_TOKENS:], [])
        found = [
            change(np.array(piece), lambda context=context: context)
            for piece, context in zip(pieces, contexts, strict=True)
        ]
        shown = [
            token
            for piece, new in zip(pieces, found, strict=True)
            for token in (piece if new is None else new.tolist())
        ]
        changed = tokenizer.decode(shown, skip_special_tokens=False)
        # A word that is cut itself stays as it is; nothing that is no whole word changes.
        inside = tokenizer.decode(pieces[0]).endswith(("h", " h"))
        assert changed.count("she") in ({expected, expected - 1} if inside else {expected})


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
