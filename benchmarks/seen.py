"""Time what is asked of the order of a large dataset: opening it, and the occurrences of documents.

    python benchmarks/seen.py --documents 210000000 --samples 147000000 --directory /large/temporary

Sizes are spread exponentially (mean 990 tokens); the data is a sparse file, since its tokens do not matter.
Opening is timed in new processes, warm: from `BatchViewer.open` to the number of steps, and what the resident
memory of the process grows by. The other side of `occurrences` is plain NumPy over the same mapped arrays:
places by comparing all of doc_idx, samples by `searchsorted`, positions in the stream by `isin` over all of
shuffle_idx. With ``--fetch N``, N steps are fetched with the pieces, addresses and sources of their documents
and without (``tokens_only``). All of that is in the page cache. ``--make DIR`` writes the dataset to DIR and
ends, ``--data DIR`` reads it. 13 GB are written for the sizes above, and removed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from pile_tools import BatchViewer
from pile_tools.formats.documents_parquet import PROVENANCE_NAME, ProvenanceWriter, provenance_table
from pile_tools.formats.mmidx import write_index
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.order import make_order

OPEN = """
import sys, time
from pathlib import Path
import numpy, pile_tools
from pile_tools import BatchViewer

def resident():
    _, total, mapped = map(int, Path("/proc/self/statm").read_text().split()[:3])
    return (total - mapped) * 4096, mapped * 4096

before, start = resident(), time.perf_counter()
viewer = BatchViewer.open(sys.argv[1])
steps = viewer.steps
print(time.perf_counter() - start, *(now - then for now, then in zip(resident(), before)))
"""


def make(directory: Path, documents: int, samples: int) -> None:
    generator = np.random.default_rng(0)
    sizes = np.empty(documents, np.int32)
    for start in range(0, documents, 1 << 20):
        part = sizes[start : start + (1 << 20)]
        part[:] = np.maximum(generator.exponential(990.0, len(part)), 1)
    write_index(directory / "document.idx", np.uint16, sizes)
    with (directory / "document.bin").open("wb") as file:
        file.truncate(int(sizes.sum(dtype=np.int64)) * 2)
    with (directory / PROVENANCE_NAME).open("wb") as file, ProvenanceWriter(file) as writer:
        for start in range(0, documents, 1 << 16):
            part = sizes[start : start + (1 << 16)]
            names = [f"Source {number}" for number in generator.integers(0, 22, len(part)).tolist()]
            noise = generator.bytes(16 * len(part))
            digests = [noise[place : place + 16] for place in range(0, len(noise), 16)]
            rows = np.arange(start, start + len(part)) % 7_000_000
            shard = f"{start // 7_000_000:02}.jsonl.zst"
            writer.write(provenance_table(shard, rows, names, part, digests))
    make_order(directory, num_samples=samples)


def fetching(viewer: BatchViewer, steps: int, directory: Path) -> None:
    """Time fetching the first steps with and without origins, and asking the ones with them."""
    times: dict[bool, list[float]] = {False: [], True: []}
    size = {}
    for round_number in range(4):
        for tokens_only in (True, False) if round_number % 2 else (False, True):
            output = directory / f"{tokens_only}-{round_number}"
            start = time.perf_counter()
            fetched = fetch_steps(viewer, 0, steps, output, tokens_only=tokens_only)
            if round_number:  # the first one reads from the disk
                times[tokens_only].append(time.perf_counter() - start)
            size[tokens_only] = sum(entry.bytes for entry in fetched.manifest.outputs)
            if round_number < 3:
                shutil.rmtree(output)
    mine, other = (statistics.median(times[tokens_only]) for tokens_only in (False, True))
    print(
        f"fetch {steps} steps    {mine:9.3f} s, {size[False]:,} bytes; tokens only {other:.3f} s, "
        f"{size[True]:,} bytes; ratio {mine / other:.2f}, bytes {size[False] / size[True]:.4f}"
    )
    opened = BatchViewer.open(directory / "False-3")
    documents = opened.trace(0, 0).column("document").to_numpy()
    for label, ask in (
        ("occurrences", partial(opened.occurrences, documents=documents)),
        ("mixture", opened.mixture),
        ("repeats", opened.repeats),
    ):
        print(f"  {label:15} {statistics.median(timed(ask) for _ in range(5)) * 1e3:9.1f} ms of these steps")


def plain(viewer: BatchViewer, documents: np.ndarray) -> int:
    """Count pieces as a script in a notebook would."""
    maps = viewer.stream.parts[0].maps()
    assert maps is not None
    if len(documents) == 1:
        places = np.flatnonzero(maps.doc_idx == documents[0])
    else:
        places = np.flatnonzero(np.isin(maps.doc_idx, documents))
    column = np.ascontiguousarray(maps.sample_idx[:, 0])
    first = np.maximum(np.searchsorted(column, places) - 1, 0)
    last = np.searchsorted(column, places + 1)
    pairs = zip(first.tolist(), last.tolist(), strict=True)
    rows = {row for begin, end in pairs for row in range(begin, end)}
    read = maps.shuffle_idx[: viewer.steps * viewer.batch_size]
    return int(np.isin(read, np.fromiter(rows, np.int64)).sum())


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000_000)
    parser.add_argument("--samples", type=int, default=9_000_000)
    parser.add_argument("--many", type=int, default=10_000, help="documents asked for at once")
    parser.add_argument("--directory", type=Path, default=None, help="for temporary files")
    parser.add_argument("--data", type=Path, default=None, help="a dataset that is there already")
    parser.add_argument("--fetch", type=int, default=0, help="steps to fetch")
    parser.add_argument("--make", type=Path, default=None, help="only write the dataset to this directory")
    options = parser.parse_args()
    if options.make is not None:
        options.make.mkdir(parents=True)
        make(options.make, options.documents, options.samples)
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        name = str(options.data or temporary)
        if options.data is None:
            make(Path(name), options.documents, options.samples)
        opened = []
        for _ in range(5):
            ran = subprocess.run(
                [sys.executable, "-c", OPEN, name], check=True, capture_output=True, text=True
            )
            opened.append(tuple(map(float, ran.stdout.split())))
        seconds, own, mapped = (statistics.median(values) for values in zip(*opened, strict=True))
        viewer = BatchViewer.open(name)
        documents, samples = viewer.dataset.n_sequences, viewer.steps * viewer.batch_size
        print(f"{documents:,} documents, {samples:,} samples; load {os.getloadavg()[0]:.2f}")
        print(
            f"open              {seconds * 1e3:9.1f} ms, resident memory + {own / 1e6:.1f} MB of its own and "
            f"{mapped / 1e6:.1f} MB of mapped files"
        )
        generator = np.random.default_rng(1)
        for count, rounds in ((1, 5), (options.many, 3)):
            wanted = generator.integers(0, documents, count)
            start = time.perf_counter()
            table = viewer.seen(documents=wanted)
            first = time.perf_counter() - start
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(timed(partial(viewer.seen, documents=wanted)))
                theirs.append(timed(partial(plain, viewer, wanted)))
            mine, other = statistics.median(ours), statistics.median(theirs)
            print(
                f"{count:6,} documents  {mine:9.3f} s (first time {first:.3f} s), {table.num_rows:,} pieces; "
                f"plain NumPy {other:.3f} s, ratio {other / mine:.1f}"
            )
        if options.fetch:
            fetching(BatchViewer.open(name, io="pread"), options.fetch, Path(temporary) / "fetched")


if __name__ == "__main__":
    main()
