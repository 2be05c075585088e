"""Time the questions to a stream, each against the plain way to the same answer, in turn.

    python benchmarks/asking.py --documents 300000 --tokenizer TOKENIZER.json

The stream is 0.6 GB of random tokens in documents of random sizes (mean 990 tokens), one epoch in the order
`neox`, all in the page cache. Token search: one thread in file order, one pattern and eight in one pass,
against comparing whole arrays with NumPy; with ``--data`` the tokens of that dataset, which has an order,
again and again up to 268 MB. `find`: the whole question on all cores, against searching each
step by NumPy. Then digests against reading the same steps, `torch_dataset` against a plain loop that gathers
each sequence piece by piece, and a regular expression with one process and with two.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from batch import make_datasets

from pile_tools import BatchViewer
from pile_tools.algorithms.search.token_search import token_matcher
from pile_tools.lookups.digests import digest_steps
from pile_tools.lookups.patterns import compile_texts

TEXT = " the people of the United States"


def in_turn(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Run all sides in each round; return the median seconds of each. The first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, times: dict[str, float], amount: float, unit: str) -> None:
    base = next(iter(times.values()))
    print(f"{title}; load {os.getloadavg()[0]:.2f}")
    for name, seconds in times.items():
        print(f"  {name:36} {seconds:8.3f} s  {amount / seconds:9.2f} {unit}  ratio {seconds / base:7.2f}")


def plain_search(tokens: npt.NDArray[Any], pattern: list[int]) -> int:
    count = len(tokens) - len(pattern) + 1
    found = tokens[:count] == pattern[0]
    for place, token in enumerate(pattern[1:], 1):
        found &= tokens[place : place + count] == token
    return int(np.count_nonzero(found))


def scan(viewer: BatchViewer, tokenizer: bool, rounds: int) -> None:
    part = viewer.stream.parts[0]
    tokens = np.resize(part.read(0, min(part.n_tokens, 128 << 20)), 128 << 20)
    generator = np.random.default_rng(0)
    starts = generator.integers(0, len(tokens) - 9, 8)
    patterns = [tokens[start : start + 4].tolist() for start in starts]
    frequencies = np.bincount(tokens[: 1 << 20], minlength=1 << 16)
    one, eight = token_matcher(patterns[:1], frequencies), token_matcher(patterns, frequencies)
    sides: dict[str, Callable[[], Any]] = {
        "one pattern of 4 tokens": lambda: one.search(tokens),
        "eight patterns in one pass": lambda: eight.search(tokens),
        "NumPy, one pattern": lambda: plain_search(tokens, patterns[0]),
        "NumPy, eight patterns": lambda: [plain_search(tokens, pattern) for pattern in patterns],
    }
    compiled = compile_texts(part, [TEXT]) if tokenizer else None
    if compiled is not None:
        sides["a text, at any alignment"] = lambda: compiled.matcher.search(tokens)
    report("token search on one core", in_turn(sides, rounds), tokens.nbytes / 1e9, "GB/s")


def find(viewer: BatchViewer, rounds: int) -> None:
    pattern = viewer.sequence(1, 0)[10:14].tolist()

    def naive() -> int:
        total = 0
        for step in range(viewer.steps):
            for sequence in viewer.batch(step):
                total += plain_search(sequence, pattern)
        return total

    assert viewer.count(tokens=pattern).totals.popitem()[1] == naive()
    sides = {"find": lambda: viewer.count(tokens=pattern), "each sequence, NumPy": naive}
    read = viewer.steps * viewer.batch_size * (viewer.seq_length + 1) * 2
    report("find in a shuffled stream", in_turn(sides, rounds), read / 1e9, "GB/s")


def regex(viewer: BatchViewer, steps: int) -> None:
    expression = r"\b[A-Z][a-z]+ the \w+ing\b"
    several = {
        f"{workers} process{'es' * (workers > 1)}": lambda workers=workers: viewer.count(
            regex=expression, steps=(0, steps), workers=workers
        )
        for workers in (1, 2)
    }
    tokens = steps * viewer.batch_size * (viewer.seq_length + 1)
    report(f"regular expression over {steps} steps", in_turn(several, 1), tokens / 1e6, "M tokens/s")


def digest(viewer: BatchViewer, name: str, rounds: int) -> None:
    def read_all() -> None:
        # None is kept, as a digest keeps none: memory that is taken anew costs more than reading.
        for step in range(viewer.steps):
            viewer.batch(step)

    sides: dict[str, Callable[[], Any]] = {
        "digest (all cores)": lambda: list(digest_steps(viewer, 0, viewer.steps)),
        "reading the steps (one core)": read_all,
    }
    read = viewer.steps * viewer.batch_size * (viewer.seq_length + 1) * 2
    report(f"digest of {name}", in_turn(sides, rounds), read / 1e9, "GB/s")


def torch_dataset(viewer: BatchViewer, rounds: int) -> None:
    dataset = viewer.torch_dataset(micro_batch_size=32)
    maps = viewer.stream.parts[0].maps()
    assert maps is not None
    data = viewer.stream.parts[0].read(0, viewer.stream.parts[0].n_tokens)
    count = min(len(dataset), 400)

    def ours() -> None:
        for item in range(count):
            dataset[item]

    def plain() -> None:
        for first in range(0, count // 4 * 32, 32):
            np.stack([sequence(number) for number in range(first, first + 32)]).astype(np.int64)

    def sequence(number: int) -> npt.NDArray[Any]:
        sample = maps.shuffle_idx[number]
        (first, offset), (last, end) = maps.sample_idx[sample].tolist(), maps.sample_idx[sample + 1].tolist()
        parts = []
        for place in range(first, last + 1):
            document = maps.doc_idx[place]
            begin = maps.pointers[document] // 2
            low = begin + offset * (place == first)
            high = begin + (end + 1 if place == last else maps.sizes[document])
            parts.append(data[low:high])
        return np.concatenate(parts)

    assert np.array_equal(dataset[0][5], sequence(5))
    times = in_turn({"torch_dataset": ours, "piece by piece": plain}, rounds)
    times["piece by piece"] *= 4
    tokens = count * 32 * (viewer.seq_length + 1)
    report("torch_dataset, one process, micro-batches of 32", times, tokens / 1e6, "M tokens/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokenizer", default=None, help="tokenizer.json, for texts and expressions")
    parser.add_argument("--regex-steps", type=int, default=4)
    parser.add_argument("--only", default="scan,find,digest,torch,regex")
    parser.add_argument("--data", default=None, help="scan only this token dataset, of real text")
    parser.add_argument("--directory", type=Path, default=None, help="for temporary files")
    options = parser.parse_args()
    if options.data is not None:
        viewer = BatchViewer.open(options.data, tokenizer=options.tokenizer)
        scan(viewer, options.tokenizer is not None or viewer.has_tokenizer, options.rounds)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        steps = options.documents * 990 // 2049 // 1024 - 1
        scattered, sequential = make_datasets(Path(name), options.documents, steps)
        viewer = BatchViewer.open(scattered, tokenizer=options.tokenizer)
        only = options.only.split(",")
        if "scan" in only:
            scan(viewer, options.tokenizer is not None, options.rounds)
        if "find" in only:
            find(viewer, 1)
        if "digest" in only:
            digest(viewer, "the order neox", options.rounds)
            digest(
                BatchViewer.open(sequential, order="sequential", batch_size=1024),
                "sequential",
                options.rounds,
            )
        if "torch" in only:
            torch_dataset(viewer, options.rounds)
        if "regex" in only and options.tokenizer is not None:
            regex(viewer, options.regex_steps)


if __name__ == "__main__":
    main()
