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


def megatron_core(sizes: list[int], seq_length: int, num_samples: int | None, seed: int) -> Arrays:
    tokens, epochs = sum(sizes), 1
    while num_samples is not None and epochs * tokens < num_samples * seq_length + 1:
        epochs += 1
    total = (epochs * tokens - 1) // seq_length
    before = ((epochs - 1) * tokens - 1) // seq_length
    apart = (
        epochs > 1
        and num_samples is not None
        and num_samples - before < int(0.8 * ((tokens - 1) // seq_length))
    )
    generator = np.random.RandomState(seed)

    def shuffled(numbers: list[int], dtype: str) -> npt.NDArray[Any]:
        array = np.array(numbers, dtype)
        generator.shuffle(array)
        return array

    documents = list(range(len(sizes)))
    parts = [documents * (epochs - 1), documents] if apart else [documents * epochs]
    doc_idx = np.concatenate([shuffled(part, "i4") for part in parts])
    samples = [list(range(before)), list(range(before, total))] if apart else [list(range(total))]
    shuffle_idx = np.concatenate([shuffled(part, "u4") for part in samples])
    sample_idx = np.array(sample_starts(sizes, doc_idx.tolist(), seq_length, total), np.int32)
    return doc_idx, sample_idx, shuffle_idx


def blend(weights: list[float], size: int) -> tuple[list[int], list[int]]:
    shares = [float(share) for share in np.array(weights) / np.sum(np.array(weights))]
    counts = [0] * len(weights)
    datasets, numbers = [], []
    for sample in range(size):
        lags = [share * max(sample, 1) - count for share, count in zip(shares, counts, strict=True)]
        chosen = lags.index(max(lags))
        datasets.append(chosen)
        numbers.append(counts[chosen])
        counts[chosen] += 1
    return datasets, numbers
