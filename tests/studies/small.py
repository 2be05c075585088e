"""A stream, models and checkpoints small enough for tests."""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

from pile_tools.stages.order.order import make_order
from pile_tools.train.model import GPTNeoX, initialise
from pile_tools.train.weights import save_model
from tests.token_data import write_dataset

VOCAB = 97


def make_stream(directory: Path, *, documents: int = 30, seq_length: int = 48, batch_size: int = 4) -> Path:
    """A token dataset with an order of two epochs; ids below ``VOCAB``, each document ended by 0."""
    generator = np.random.RandomState(7)
    contents = [
        generator.randint(1, VOCAB, size).astype("<u2") for size in generator.randint(5, 160, documents)
    ]
    for content in contents:
        content[-1] = 0
    write_dataset(directory, contents)
    tokens = sum(map(len, contents))
    make_order(
        directory, seq_length=seq_length, batch_size=batch_size, steps=2 * tokens // seq_length // batch_size
    )
    return directory


def make_own(directory: Path, *, vocab: int = VOCAB, seed: int = 0) -> Path:
    """A GPT-NeoX with random weights, large enough that its answers differ from prompt to prompt."""
    directory.mkdir(parents=True)
    model = GPTNeoX(layers=2, width=32, heads=2, vocab=vocab, rotary_share=0.5)
    initialise(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3)
    save_model(model, directory)
    return directory


def make_gpt2(directory: Path, *, vocab: int = VOCAB, positions: int = 64) -> Path:
    """A GPT-2 with random weights."""
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=vocab, n_positions=positions, n_embd=32, n_layer=2, n_head=2, initializer_range=0.4
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(directory)
    return directory


def make_mamba(directory: Path, *, vocab: int = VOCAB) -> Path:
    """A state-space model with random weights, whose outputs hold no `past_key_values`."""
    torch.manual_seed(1)
    config = transformers.MambaConfig(
        vocab_size=vocab, hidden_size=32, state_size=4, num_hidden_layers=2, initializer_range=0.4
    )
    transformers.MambaForCausalLM(config).save_pretrained(directory)
    return directory


def rename_kind(directory: Path, **changes: object) -> None:
    """Edit ``config.json``."""
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
