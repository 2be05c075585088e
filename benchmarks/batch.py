"""Time `BatchViewer.batch` against a plain copy, and cold against `pread` of the same pieces.

    python benchmarks/batch.py --documents 300000

One step is 1024 sequences of 2049 tokens. In the `neox` order they are cut from documents of random
sizes (mean 990 tokens) scattered all over 0.6 GB; in the `sequential` one they lie end to end. Warm, the
data lies in the page cache, and the other side copies the same number of bytes from one place of the
same mapped file. Cold, the file is dropped from the page cache before each step, and the other side
reads the very pieces of the step by `os.pread`, one after the other. The sides take turns.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pile_tools import BatchViewer
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.sources import MappedFile
from pile_tools.stages.order import make_order

BATCH, TOKENS = 1024, 2049


def make_datasets(directory: Path, documents: int, steps: int) -> tuple[Path, Path]:
    """Write the dataset of documents with its neox order, and the same data as one of whole samples."""
    generator = np.random.RandomState(0)
    sizes = np.maximum(generator.exponential(990.0, documents), 1).astype(np.int32)
    scattered, sequential = directory / "scattered", directory / "sequential"
    for place in (scattered, sequential):
        place.mkdir()
    write_index(scattered / "document.idx", np.uint16, sizes)
    with (scattered / "document.bin").open("wb") as file:
        for part in np.array_split(sizes, 16):
            file.write(generator.randint(0, 50_000, part.sum()).astype(np.uint16).tobytes())
    samples = int(sizes.sum()) // TOKENS
    write_index(sequential / "document.idx", np.uint16, np.full(samples, TOKENS))
    os.link(scattered / "document.bin", sequential / "document.bin")
    os.truncate(sequential / "document.bin", samples * TOKENS * 2)
    write_index(scattered / "document.idx", np.uint16, _fitted(sizes, samples * TOKENS))
    make_order(scattered, steps=steps)
    return scattered, sequential


def _fitted(sizes: np.ndarray, tokens: int) -> np.ndarray:
    """``sizes`` without the last few tokens, so that both datasets share one file."""
    sizes = sizes.copy()
    over = int(sizes.sum()) - tokens
    for place in range(len(sizes) - 1, -1, -1):
        cut = min(over, int(sizes[place]))
        sizes[place] -= cut
        over -= cut
        if not over:
            break
    return sizes


def in_turn(sides: dict[str, Callable[[int], object]], steps: range) -> dict[str, float]:
    """Run all sides for each step and return the median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for step in steps:
        for name, side in sides.items():
            start = time.perf_counter()
            side(step)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, times: dict[str, float], base: str) -> None:
    print(title)
    for name, seconds in times.items():
        print(f"  {name:24} {seconds * 1e3:9.2f} ms  {seconds / times[base]:6.2f} times {base}")


def warm(scattered: Path, sequential: Path, steps: int) -> None:
    neox = BatchViewer.open(scattered)
    pread = BatchViewer.open(scattered, io="pread")
    whole = BatchViewer.open(sequential, order="sequential", batch_size=BATCH)
    (part,) = whole.dataset.parts
    assert isinstance(part, MappedFile)
    data, size = part.array, BATCH * TOKENS * 2
    int(data.sum(dtype=np.uint64))  # every page is in the page cache from here on
    for viewer in (neox, pread, whole):
        viewer.batch(0)

    def plain_copy(step: int) -> object:
        place = step * size % (len(data) - size)
        return data[place : place + size].copy()

    sides = {
        "plain copy": plain_copy,
        "sequential": whole.batch,
        "neox": neox.batch,
        "neox --io pread": pread.batch,
    }
    print(f"{len(data):,} bytes of tokens, {size:,} bytes a step")
    report("warm", in_turn(sides, range(1, min(steps, whole.steps))), "plain copy")


def cold(scattered: Path, steps: int) -> None:
    path = scattered / "document.bin"
    mapped, pread = BatchViewer.open(scattered), BatchViewer.open(scattered, io="pread")
    descriptor = os.open(path, os.O_RDONLY)

    def pieces(step: int) -> list[tuple[int, int]]:
        index = mapped.dataset.index
        found = []
        for row in range(BATCH):
            for piece in mapped.trace(step, row).to_pylist():
                start = int(index.pointers[piece["document"]]) + 2 * piece["offset"]
                found.append((2 * piece["n_tokens"], start))
        return found

    asked = {step: pieces(step) for step in range(steps)}

    def plain_pread(step: int) -> object:
        return [os.pread(descriptor, length, start) for length, start in asked[step]]

    def dropped(side: Callable[[int], object]) -> Callable[[int], float]:
        def run(step: int) -> float:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            side(step)
            return time.perf_counter() - start

        return run

    times: dict[str, list[float]] = {"pread of the pieces": [], "--io mmap": [], "--io pread": []}
    for step in range(steps):
        for name, side in zip(times, (plain_pread, mapped.batch, pread.batch), strict=True):
            times[name].append(dropped(side)(step))
    report("cold", {name: statistics.median(values) for name, values in times.items()}, "pread of the pieces")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cold-steps", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        scattered, sequential = make_datasets(Path(name), options.documents, options.steps)
        warm(scattered, sequential, options.steps)
        if options.cold_steps:
            cold(scattered, options.cold_steps)


if __name__ == "__main__":
    main()
