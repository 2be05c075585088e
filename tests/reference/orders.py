"""The recipes in plain Python and numpy, one step at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


def sample_starts(sizes: list[int], doc_idx: list[int], seq_length: int, samples: int) -> list[list[int]]:
    """Where each sample begins, by counting tokens one at a time."""
    places = [[place, offset] for place, number in enumerate(doc_idx) for offset in range(sizes[number])]
    # The first sample is at document 0 whether it has a token or not.
    return [[0, 0]] + [places[sample * seq_length] for sample in range(1, samples + 1)]


def neox(sizes: list[int], seq_length: int, num_samples: int, seed: int) -> Arrays:
    epochs = 1
    while (epochs * sum(sizes) - 1) // seq_length < num_samples:
        epochs += 1
    generator = np.random.RandomState(seed)
    doc_idx = np.array(list(range(len(sizes))) * epochs, np.int32)
    generator.shuffle(doc_idx)
    samples = (epochs * sum(sizes) - 1) // seq_length
    sample_idx = np.array(sample_starts(sizes, doc_idx.tolist(), seq_length, samples), np.int32)
    shuffle_idx = np.arange(samples, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    return doc_idx, sample_idx, shuffle_idx


def sequence(documents: list[list[int]], arrays: Arrays, seq_length: int, number: int) -> list[int]:
    """The tokens of sequence ``number``, from the whole stream of tokens."""
    doc_idx, _, shuffle_idx = arrays
    stream = [token for document in doc_idx.tolist() for token in documents[document]]
    start = int(shuffle_idx[number]) * seq_length
    return stream[start : start + seq_length + 1]
