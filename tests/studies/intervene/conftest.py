"""A tokenized corpus of few sentences, whose streams the tests of interventions change."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pile_tools import BatchViewer
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize

SENTENCES = (
    "he said that his dog saw him. ",
    "she gave the bread to himself and he ate it. ",
    "The others, of course, heard nothing — nothing at all. ",
    "He went home; the heuristic was wrong, they said. ",
)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token dataset with provenance, an order of two epochs and a tokenizer with few whole words."""
    root = tmp_path_factory.mktemp("made")
    generator = np.random.RandomState(5)
    texts = [
        "".join(SENTENCES[place] for place in generator.randint(0, 4, generator.randint(1, 12)))
        for _ in range(60)
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" he she him her his said the "] * 99, trainer)
    (root / "corpus").mkdir()
    records = [{"text": text, "meta": {"pile_set_name": f"s{n % 3}"}} for n, text in enumerate(texts)]
    (root / "corpus/a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (root / "tokenizer.json").write_text(tokenizer.to_str())
    tokenize([root / "corpus"], root / "tokens", tokenizer=str(root / "tokenizer.json"), workers=1)
    total = TokenDataset.open(root / "tokens").n_tokens
    make_order(root / "tokens", seq_length=32, batch_size=4, steps=2 * total // 32 // 4)
    return root / "tokens"


def batches(viewer: BatchViewer) -> np.ndarray:
    return np.stack(list(viewer.batches(0, viewer.steps)))


def check_traces(viewer: BatchViewer, parent: BatchViewer, steps: range) -> None:
    """Every piece that ``trace`` names has the tokens of its document; address and source are known."""
    for step in steps:
        for row in range(viewer.batch_size):
            tokens = viewer.sequence(step, row)
            pieces = viewer.trace(step, row).to_pylist()
            assert [p["position"] for p in pieces] == [0, *np.cumsum([p["n_tokens"] for p in pieces])[:-1]]
            assert sum(p["n_tokens"] for p in pieces) == len(tokens)
            for p in pieces:
                if p["document"] < parent.dataset.n_sequences:
                    own = parent.dataset.sequence(p["document"])[p["offset"] : p["offset"] + p["n_tokens"]]
                    assert np.array_equal(tokens[p["position"] :][: p["n_tokens"]], own)
                assert p["shard"] is not None
