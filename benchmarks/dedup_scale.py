"""Time and memory of deduplication after reading: signatures are made up, not read from text.

    python benchmarks/dedup_scale.py [--millions 1 5 20] [--memory 4G] [--workers 2]
    python benchmarks/dedup_scale.py --buckets

Corpora of 1, 5 and 20 million documents: one in five repeats an earlier one at a similarity between 0.6 and
1, and of these three in twenty word by word. The keys of the 16 bands agree as those of MinHash do: each
with probability similarity^8. Then the stage's own tasks run: group, verify, decide. The sets of shingles
that verification reads are made up in accordance (32 shingles a document: reading them takes time in
proportion). Making the input is not counted. ``--buckets``: a million identical documents, and a million
that share their boilerplate and nothing else.

The memory is the sum over all processes of their resident sets, sampled; pages that they share count anew
for each.
"""

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numba import njit

from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.formats.sizes import parse_bytes
from pile_tools.stages.dedup import _LEAST_BUDGET, _PROCESS_BYTES, _Run
from pile_tools.stages.dedup_files import DOCUMENT, KEY_CHUNK, CorpusFiles, DedupPaths
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.executor import TaskPool, no_progress

SHARD_DOCUMENTS = 1_000_000
BANDS, ROWS = 16, 8


@dataclass(frozen=True)
class Kind:
    """``repeats`` of the documents repeat another (``exact``: word by word), at ``low`` to ``high``."""

    repeats: float
    exact: float
    low: float
    high: float
    one_root: bool = False  # all repeat the first document
    shingles: int = 32

    def arguments(self) -> tuple[float, float, float, float, bool]:
        return self.repeats, self.exact, self.low, self.high, self.one_root


CORPUS = Kind(0.20, 0.03, 0.6, 1.0)
IDENTICAL = Kind(1.0, 1.0, 1.0, 1.0, one_root=True)
BOILERPLATE = Kind(1.0, 0.0, 0.78, 0.82, one_root=True, shingles=100)


@njit(cache=True)
def mix(a: int, b: int) -> np.uint64:
    """A hash of two numbers (SplitMix64's finalizer); the products wrap modulo 2⁶⁴."""
    h = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b) * np.uint64(0xD1B54A32D192ED03)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def unit(a: int, b: int) -> float:
    return float(mix(a, b) >> np.uint64(11)) / float(1 << 53)


@njit(cache=True)
def root_of(d, repeats, exact, low, high, one_root):  # type: ignore[no-untyped-def]
    """The document that ``d`` repeats (itself where none), and at what similarity (1.0: word by word)."""
    if d == 0 or unit(d, 1) >= repeats:
        return d, 1.0
    root = np.int64(0 if one_root else unit(d, 2) * d)
    while root > 0 and unit(root, 1) < repeats:
        root = np.int64(0 if one_root else unit(root, 2) * root)
    return root, (1.0 if unit(d, 3) < exact / repeats else low + (high - low) * unit(d, 4))


@njit(cache=True)
def make_documents(first, hashes, keys, repeats, exact, low, high, one_root):  # type: ignore[no-untyped-def]
    for i in range(hashes.shape[0]):
        d = first + i
        root, similarity = root_of(d, repeats, exact, low, high, one_root)
        same = root if similarity == 1.0 else d
        hashes[i, 0], hashes[i, 1] = mix(same, 5), mix(same, 6)
        for band in range(keys.shape[0]):
            agrees = root == same or unit(d, 100 + band) < similarity**ROWS
            keys[band, i] = mix(root if agrees else d, 200 + band)


@njit(cache=True)
def make_sets(ids, shingles, values, repeats, exact, low, high, one_root):  # type: ignore[no-untyped-def]
    for i in range(ids.shape[0]):
        root, similarity = root_of(ids[i], repeats, exact, low, high, one_root)
        own = round(shingles * (1 - similarity) / (1 + similarity))
        for k in range(shingles):
            values[i, k] = mix(ids[i] if k < own else root, 1000 + k)
        values[i].sort()


def write_signed(paths: DedupPaths, kind: Kind, documents: int) -> int:
    """Write what signing would have left; return the number of shards."""
    shards = -(-documents // SHARD_DOCUMENTS)
    for shard in range(shards):
        start = shard * SHARD_DOCUMENTS
        stop = min(start + SHARD_DOCUMENTS, documents)
        with (
            atomic_write(paths.documents(shard)) as one,
            NpyWriter(one, DOCUMENT) as tables,
            atomic_write(paths.keys(shard)) as two,
            NpyWriter(two, np.uint64) as all_keys,
        ):
            for first in range(start, stop, KEY_CHUNK):
                n = min(KEY_CHUNK, stop - first)
                table = np.zeros(n, dtype=DOCUMENT)
                table["row"] = np.arange(first - start, first - start + n)
                table["bytes"], table["words"] = 4000, 700
                keys = np.empty((BANDS, n), dtype=np.uint64)
                hashes = np.empty((n, 2), dtype=np.uint64)
                make_documents(first, hashes, keys, *kind.arguments())
                table["hash"] = hashes
                tables.append(table)
                all_keys.append(keys.ravel())
    return shards


def write_sets(files: CorpusFiles, kind: Kind) -> None:
    """Write the sets of shingles of all candidates."""
    for shard in range(files.n_shards):
        start, stop = int(files.starts[shard]), int(files.starts[shard + 1])
        chosen = np.flatnonzero(NpyFile.open(files.paths.candidates).read(start, stop))
        values = np.empty((len(chosen), kind.shingles), dtype=np.uint64)
        make_sets(start + chosen, kind.shingles, values, *kind.arguments())
        write_npy(files.paths.sets("documents", shard), chosen)
        write_npy(files.paths.sets("offsets", shard), np.arange(len(chosen) + 1) * kind.shingles)
        write_npy(files.paths.sets("values", shard), values.ravel())


def resident(process: int) -> int:
    """Bytes of the resident sets of a process and its children."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


@dataclass
class Meter:
    """Seconds and peak memory of the parts of a run."""

    seconds: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    def measure(self, name: str, function: Callable[[], object]) -> object:
        peak, done = 0, threading.Event()

        def sample() -> None:
            nonlocal peak
            while not done.wait(0.05):
                peak = max(peak, resident(os.getpid()))

        thread = threading.Thread(target=sample)
        thread.start()
        start = time.perf_counter()
        try:
            return function()
        finally:
            self.seconds[name] = time.perf_counter() - start
            done.set()
            thread.join()
            self.peaks[name] = peak


def run(kind: Kind, documents: int, memory: int, workers: int) -> tuple[Meter, int, int]:
    """Return the meter, bytes on the disk at the end, and how many documents are removed."""
    meter = Meter()
    with tempfile.TemporaryDirectory() as name, TaskPool(workers) as pool:
        paths = DedupPaths(Path(name))
        paths.make()
        files = CorpusFiles(paths, write_signed(paths, kind, documents))
        budget = max(_LEAST_BUDGET, (memory - (workers + 1) * _PROCESS_BYTES) // workers)
        work = _Run(resolve_job(), [], Path(name), files, pool, budget, no_progress)
        same_parts, band_parts = meter.measure("group", work.group)  # type: ignore[misc]

        def made_up_sets(parts: int) -> None:
            from pile_tools.stages.dedup_group import mark_candidates

            mark_candidates(files, BANDS, parts)
            write_sets(files, kind)

        made_up_sets(band_parts)
        work.sets = lambda parts: None  # type: ignore[method-assign]
        verify = work.verify
        work.verify = lambda parts: meter.measure("verify", lambda: verify(parts))  # type: ignore
        meter.measure("verify and decide", lambda: work.decide(same_parts, band_parts))
        size = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
        return meter, size, len(NpyFile.open(paths.decision))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="*", default=[1, 5, 20])
    parser.add_argument("--memory", default="4G")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--buckets", action="store_true")
    options = parser.parse_args()
    cases = [(f"{n:g} million", CORPUS, int(n * 1e6)) for n in options.millions]
    if options.buckets:
        cases = [
            ("a million identical", IDENTICAL, 1_000_000),
            ("a million with the same boilerplate", BOILERPLATE, 1_000_000),
        ]
    memory = parse_bytes(options.memory)
    print(f"--memory {options.memory}, {options.workers} workers, load {os.getloadavg()[0]:.1f}")
    print("| documents | removed | group | peak | verify | peak | decide | peak | work files |")
    print("|" + " --- |" * 9)
    run(CORPUS, 10_000, memory, 1)  # compiles the kernels
    for label, kind, documents in cases:
        meter, size, removed = run(kind, documents, memory, options.workers)
        seconds, peaks = meter.seconds, meter.peaks
        seconds["decide"] = seconds["verify and decide"] - seconds["verify"]
        cells = [
            f"{seconds[part]:.1f} s | {peaks[peak] / 2**20:,.0f} MiB"
            for part, peak in (("group", "group"), ("verify", "verify"), ("decide", "verify and decide"))
        ]
        print(f"| {label} | {removed:,} | " + " | ".join(cells) + f" | {size / 1e9:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
