"""Words swapped in a piece of a document, wherever the piece is cut."""

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools.studies.intervene.retokenize import CONTEXT_TOKENS, Retokenizer


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
