"""Time `neox_order` against the same recipe in plain NumPy, in turn, in one process.

    python benchmarks/order.py --documents 2000000 --samples 1400000

The plain side is what GPT-NeoX does, with a compiled sample_idx as GPT-NeoX has one: both sides use the
same kernel for it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pile_tools.algorithms.recipes import count_epochs, count_samples, fill_sample_idx, neox_order


def plain(sizes: Any, seq_length: int, num_samples: int, seed: int) -> tuple[Any, Any, Any]:
    tokens = int(np.sum(sizes, dtype=np.int64))
    epochs = count_epochs(tokens, seq_length, num_samples)
    generator = np.random.RandomState(seed)
    doc_idx = np.mgrid[0:epochs, 0 : len(sizes)][1].reshape(-1).astype(np.int32)
    generator.shuffle(doc_idx)
    sample_idx = np.empty((count_samples(tokens, seq_length, epochs) + 1, 2), np.int32)
    fill_sample_idx(sizes, doc_idx, seq_length, sample_idx)
    shuffle_idx = np.arange(len(sample_idx) - 1, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    return doc_idx, sample_idx, shuffle_idx


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2_000_000)
    parser.add_argument("--samples", type=int, default=1_400_000)
    parser.add_argument("--mean-size", type=float, default=990.0, help="tokens of a document")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    generator = np.random.RandomState(0)
    sizes = np.maximum(generator.exponential(options.mean_size, options.documents), 1).astype(np.int32)
    parameters = {"seq_length": 2048, "num_samples": options.samples, "seed": 1234}

    ours = neox_order(sizes, **parameters)
    for one, two in zip(
        (ours.doc_idx, ours.sample_idx, ours.shuffle_idx), plain(sizes, **parameters), strict=True
    ):
        assert np.array_equal(one, two)
    times: dict[str, list[float]] = {"pile-tools": [], "plain numpy": []}
    for _ in range(options.rounds):
        times["pile-tools"].append(seconds(lambda: neox_order(sizes, **parameters)))
        times["plain numpy"].append(seconds(lambda: plain(sizes, **parameters)))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{options.documents:,} documents, {ours.epochs} epochs, {len(ours.shuffle_idx):,} samples; equal")
    for name, median in medians.items():
        print(f"{name:12} {median:8.3f} s")
    print(f"ratio        {medians['plain numpy'] / medians['pile-tools']:8.2f}")


if __name__ == "__main__":
    main()
