"""Time `neox_order` against the same recipe in plain NumPy, and measure its memory against its arrays.

    python benchmarks/order.py --documents 210000000 --samples 147000000 --rounds 1

The plain side is what GPT-NeoX does, with a compiled sample_idx as GPT-NeoX has one: both sides use the
same kernel for it. Each side runs in a process of its own, in turn; the peak of its resident memory is
what the system counts for the process, without what it had before the order was begun.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools.algorithms.orders.recipes import (
    Order,
    count_epochs,
    count_samples,
    fill_sample_idx,
    neox_order,
)

SEQ_LENGTH, SEED = 2048, 1234


def plain(sizes: npt.NDArray[np.int32], num_samples: int) -> Order:
    tokens = int(np.sum(sizes, dtype=np.int64))
    epochs = count_epochs(tokens, SEQ_LENGTH, num_samples)
    generator = np.random.RandomState(SEED)
    doc_idx = np.tile(np.arange(len(sizes), dtype=np.int32), epochs)
    generator.shuffle(doc_idx)
    sample_idx = np.empty((count_samples(tokens, SEQ_LENGTH, epochs) + 1, 2), np.int32)
    fill_sample_idx(sizes, doc_idx, SEQ_LENGTH, sample_idx)
    shuffle_idx = np.arange(len(sample_idx) - 1, dtype=np.uint32)
    generator.shuffle(shuffle_idx)
    return Order(doc_idx, sample_idx, shuffle_idx, epochs)


def ours(sizes: npt.NDArray[np.int32], num_samples: int) -> Order:
    return neox_order(sizes, seq_length=SEQ_LENGTH, num_samples=num_samples, seed=SEED)


def documents_of(number: int, mean_size: float) -> npt.NDArray[np.int32]:
    """Sizes that are spread exponentially, made in blocks: no array but the result is large."""
    generator = np.random.default_rng(0)
    sizes = np.empty(number, np.int32)
    for start in range(0, number, 1 << 20):
        part = sizes[start : start + (1 << 20)]
        part[:] = np.maximum(generator.exponential(mean_size, len(part)), 1)
    return sizes


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(function: Any, number: int, mean_size: float, num_samples: int, answer: Connection) -> None:
    function(documents_of(1000, mean_size), 10)  # compiled before anything is measured
    sizes = documents_of(number, mean_size)
    before = peak()
    start = time.perf_counter()
    order = function(sizes, num_samples)
    seconds = time.perf_counter() - start
    memory = peak() - before
    arrays = (order.doc_idx, order.sample_idx, order.shuffle_idx)
    ends = [int(array.reshape(-1)[place]) for array in arrays for place in range(-3, 3)]
    checksum = sum(int(array[:: len(array) // 1000 + 1].sum(dtype=np.int64)) for array in arrays)
    answer.send((seconds, memory, sum(array.nbytes for array in arrays), (checksum, ends, order.epochs)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000_000)
    parser.add_argument("--samples", type=int, default=14_000_000)
    parser.add_argument("--mean-size", type=float, default=990.0, help="tokens of a document")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    seconds: dict[str, list[float]] = {"pile-tools": [], "plain NumPy": []}
    memory, checksums = {}, set()
    for _ in range(options.rounds):
        for name, function in (("pile-tools", ours), ("plain NumPy", plain)):
            here, there = context.Pipe()
            arguments = (function, options.documents, options.mean_size, options.samples, there)
            process = context.Process(target=measure, args=arguments)
            process.start()
            taken, used, arrays, checksum = here.recv()
            process.join()
            seconds[name].append(taken)
            memory[name] = used / arrays
            checksums.add(repr(checksum))
    assert len(checksums) == 1, checksums
    print(
        f"{options.documents:,} documents, {options.samples:,} samples asked for, arrays of {arrays:,} bytes"
    )
    for name, values in seconds.items():
        print(
            f"{name:12} {statistics.median(values):8.2f} s, peak of memory {memory[name]:.2f} of the arrays"
        )
    ratio = statistics.median(seconds["plain NumPy"]) / statistics.median(seconds["pile-tools"])
    print(f"ratio        {ratio:8.2f}")


if __name__ == "__main__":
    main()
