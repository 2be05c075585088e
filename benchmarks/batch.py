"""Time `BatchViewer.batch` against a plain copy of as many bytes, in turn, in one process.

    python benchmarks/batch.py --documents 300000

Documents of random sizes (mean 990 tokens) in one `.bin` that lies in the page cache; 1024 sequences of
2049 tokens for each step, cut from documents scattered all over it. The other side copies the same
number of bytes from one place of the same mapped file.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from pile_tools import BatchViewer
from pile_tools.formats.mmidx import write_index
from pile_tools.stages.order import make_order


def make_dataset(directory: Path, documents: int) -> None:
    generator = np.random.RandomState(0)
    sizes = np.maximum(generator.exponential(990.0, documents), 1).astype(np.int32)
    write_index(directory / "document.idx", np.uint16, sizes)
    with (directory / "document.bin").open("wb") as file:
        for part in np.array_split(sizes, 16):
            file.write(generator.randint(0, 50_000, part.sum()).astype(np.uint16).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_dataset(directory, options.documents)
        make_order(directory, steps=options.steps + 1)
        viewer = BatchViewer.open(directory)
        data = viewer.dataset.parts[0]
        checksum = int(data.sum(dtype=np.uint64))  # every page is in the page cache from here on
        size = viewer.batch(options.steps).nbytes
        ours, copies = [], []
        for step in range(options.steps):
            start = time.perf_counter()
            viewer.batch(step)
            middle = time.perf_counter()
            place = step * size % (len(data) - size)
            data[place : place + size].copy()
            ours.append(middle - start)
            copies.append(time.perf_counter() - middle)
        one, two = statistics.median(ours), statistics.median(copies)
        print(f"{len(data):,} bytes of tokens (checksum {checksum}), {size:,} bytes for each step")
        print(f"batch()     {one * 1e3:7.2f} ms")
        print(f"plain copy  {two * 1e3:7.2f} ms")
        print(f"ratio       {one / two:7.2f}")


if __name__ == "__main__":
    main()
