"""Time `BatchViewer.batch` against a plain copy, and cold against `pread` of the same pieces.

    python benchmarks/batch.py --documents 300000

One step is 1024 sequences of 2049 tokens. In the `neox` order they are cut from documents of random
sizes (mean 990 tokens) scattered all over 0.6 GB; in the `sequential` one they lie end to end. Warm, the
data lies in the page cache, and the other side copies the same number of bytes from one place of the
same mapped file. Cold, the file is dropped from the page cache before each step, which is checked, and
the other side reads the pieces of a step by `os.pread`, one after the other. The sides take turns in
changing order, and each reads another step.
"""

import argparse
import ctypes
import gc
import mmap
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pile_tools import BatchViewer
from pile_tools.formats.mmidx import write_index
from pile_tools.stages.order.order import make_order
from pile_tools.storage.sources import MappedFile
from pile_tools.stream.opening import open_location

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


def in_turn(sides: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Run every side once in each of ``rounds`` and return the median seconds of each.

    They take turns at random, since what a side leaves to the memory allocator helps or hinders the one
    after it, and no two read the same step within a quarter of the rounds, so that none finds the bytes of
    another in the processor's caches.
    """
    names = list(sides)
    turns = np.random.RandomState(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for place in turns.permutation(len(names)).tolist():
            step = (number + place * rounds // len(names)) % rounds
            start = time.perf_counter()
            sides[names[place]](step)
            times[names[place]].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, times: dict[str, float], base: str) -> None:
    print(title)
    for name, seconds in times.items():
        print(f"  {name:24} {seconds * 1e3:9.2f} ms  {seconds / times[base]:6.2f} times {base}")


def warm(scattered: Path, sequential: Path, rounds: int) -> None:
    neox = BatchViewer.open(scattered)
    pread = BatchViewer.open(scattered, io="pread")
    whole = BatchViewer.open(sequential, order="sequential", batch_size=BATCH)
    data, size = mapped_data(whole), BATCH * TOKENS * 2
    rounds = min(rounds, whole.steps)
    for viewer in (neox, whole):
        int(mapped_data(viewer).sum(dtype=np.uint64))  # every page is in memory and mapped from here on
    for viewer in (neox, pread, whole):
        viewer.batch(0)

    def plain_copy(step: int) -> object:
        return data[step * size : (step + 1) * size].copy()

    print(f"{len(data):,} bytes of tokens, {size:,} bytes a step")
    # A side of 20 ms empties the processor's caches of what the next one needs, so those are measured apart.
    sides = {"plain copy": plain_copy, "sequential": whole.batch}
    report("warm, in the order of the file", in_turn(sides, rounds), "plain copy")
    sides = {"plain copy": plain_copy, "neox": neox.batch, "neox --io pread": pread.batch}
    report("warm, shuffled", in_turn(sides, rounds), "plain copy")


def mapped_data(viewer: BatchViewer) -> npt.NDArray[np.uint8]:
    (part,) = viewer.dataset.parts
    assert isinstance(part, MappedFile)
    return part.array


class ColdFile:
    """A file that is dropped from the page cache, which `mincore` confirms."""

    def __init__(self, path: Path, mappings: list[npt.NDArray[np.uint8]]) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self._mappings = [owner(array) for array in mappings]
        # One more, which nobody reads through, to ask what of the file is in memory.
        self._asked = np.memmap(path, np.uint8, "r")
        self._libc = ctypes.CDLL(None, use_errno=True)
        os.fsync(self.descriptor)  # pages that are still to be written cannot be dropped

    def drop(self) -> None:
        for mapping in self._mappings:
            mapping.madvise(mmap.MADV_DONTNEED)  # a page that a process has mapped and touched stays
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if left := self.resident():
            raise SystemExit(f"{left} pages are still in the page cache; nothing cold can be measured")

    def resident(self) -> int:
        """Number of pages of the file that are in the page cache."""
        pages = np.empty(-(-len(self._asked) // mmap.PAGESIZE), np.uint8)
        address = ctypes.c_void_p(self._asked.ctypes.data)
        if self._libc.mincore(address, ctypes.c_size_t(len(self._asked)), ctypes.c_void_p(pages.ctypes.data)):
            raise OSError(ctypes.get_errno(), "mincore")
        return int((pages & 1).sum())


def owner(array: npt.NDArray[np.uint8]) -> mmap.mmap:
    """Return the mapping whose bytes ``array`` shows."""
    base: object = array
    while not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else base.base  # type: ignore[attr-defined]
    return base


def cold(scattered: Path, rounds: int) -> None:
    mapped, pread = BatchViewer.open(scattered), BatchViewer.open(scattered, io="pread")
    component = open_location(scattered, None, "pread", None).components[0]
    pointers = component.dataset.pointers.whole()
    gc.collect()  # the viewers of before, whose mappings would hold pages
    file = ColdFile(scattered / "document.bin", [mapped_data(mapped)])

    def pieces(step: int) -> list[tuple[int, int]]:
        found = component.pieces(np.arange(step * BATCH, (step + 1) * BATCH))
        starts = pointers[found.document] + 2 * found.offset
        return list(zip((2 * found.n_tokens).tolist(), starts.tolist(), strict=True))

    asked = [pieces(step) for step in range(3 * rounds)]

    def plain_pread(step: int) -> object:
        return [os.pread(file.descriptor, length, start) for length, start in asked[step]]

    sides = {"pread of the pieces": plain_pread, "--io mmap": mapped.batch, "--io pread": pread.batch}
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    read: dict[str, list[int]] = {name: [] for name in names}
    for number in range(rounds):
        for turn in range(len(names)):
            name = names[(number + turn) % len(names)]
            file.drop()
            start = time.perf_counter()
            sides[name](number * len(names) + turn)  # a step that no side has read yet
            times[name].append(time.perf_counter() - start)
            read[name].append(file.resident() * mmap.PAGESIZE)
    title = f"cold, {statistics.mean(map(len, asked)):,.0f} pieces a step"
    report(title, {name: statistics.median(values) for name, values in times.items()}, names[0])
    for name, amounts in read.items():
        print(f"  {name:24} {statistics.median(amounts) / 1e6:9.1f} MB came from the disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cold-rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        scattered, sequential = make_datasets(Path(name), options.documents, options.steps)
        warm(scattered, sequential, options.steps)
        if options.cold_rounds:
            cold(scattered, options.cold_rounds)
        print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())}")


if __name__ == "__main__":
    main()
