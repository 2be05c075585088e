"""A stream and a model small enough that a step takes milliseconds."""

import filecmp
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pile_tools import BatchViewer
from pile_tools.stages.order.order import make_order
from pile_tools.train import GPTNeoX, Outcome, read_metrics, save_model, train
from pile_tools.train.model import initialise
from tests.token_data import write_dataset

VOCAB = 97
SHAPE: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "vocab": VOCAB}
BATCH_SIZE = 6
SEQ_LENGTH = 20
# What ``begin`` trains with.
STEPS = 9
RATE = 0.01


def make_stream(directory: Path, *, seed: int = 0, steps: int = 12, first: int = 1) -> BatchViewer:
    """Write a token dataset with something to learn, whose documents begin with ``first``, and an order."""
    random = np.random.RandomState(seed)
    documents = []
    for size in random.randint(5, 60, 80):
        tokens = random.randint(1, VOCAB, size)
        for position in range(1, size):
            if random.rand() < 0.7:
                tokens[position] = tokens[position - 1] * 5 % (VOCAB - 1) + 1
        tokens[0] = first
        documents.append(np.append(tokens, 0).astype("<u2"))
    write_dataset(directory, documents)
    make_order(directory, seq_length=SEQ_LENGTH, batch_size=BATCH_SIZE, steps=steps)
    return BatchViewer.open(directory)


def random_model(seed: int = 0, **shape: Any) -> GPTNeoX:
    """A model with random biases and norms, too, so that every parameter matters."""
    generator = torch.Generator().manual_seed(seed)
    model = GPTNeoX(**shape)
    initialise(model, generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += torch.empty(parameter.shape).normal_(0.0, 0.1, generator=generator)
    return model


def write_config(directory: Path, **shape: Any) -> Path:
    """Write a model of ``shape`` (default: the small one) and return its ``config.json``."""
    directory.mkdir(parents=True)
    save_model(random_model(**(shape or SHAPE)), directory)
    return directory / "config.json"


def begin(home: Path, name: str, **settings: Any) -> Outcome:
    """Train the run ``name`` in ``home`` on the stream and the model there."""
    viewer = BatchViewer.open(home / "data", batch_size=settings.pop("batch_size", None))
    known: dict[str, Any] = {"steps": STEPS, "learning_rate": RATE, "micro_batch_size": 4}
    known |= {"model": str(home / "model"), "schedule": "0,2,6", "device": "cpu"}
    return train(viewer, home / name, **{**known, **settings})


def resume(home: Path, name: str, **settings: Any) -> Outcome:
    viewer = BatchViewer.open(home / "data")
    return train(viewer, home / name, resume=True, **{"micro_batch_size": 4, "device": "cpu", **settings})


def losses(run: Path) -> list[float]:
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


def differing(one: Path, two: Path) -> list[str]:
    """Names of files that differ between two directories, or are in one of them only."""
    names = {path.name for path in [*one.iterdir(), *two.iterdir()]}
    _, mismatch, errors = filecmp.cmpfiles(one, two, sorted(names), shallow=False)
    return mismatch + errors
