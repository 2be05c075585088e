"""Time the proof of an order before its first use: hashes, permutation, and opening once it is in the ledger.

    python benchmarks/proof.py --samples 50000000 --directory /large/temporary

The other side of the hash is a plain loop of hashlib over the same mapped files with as many threads; that of
the permutation is NumPy: `bincount` of all entries, and whether each count is 1. Both take turns with ours;
medians of ``--rounds``. Opening is timed in this process, warm, with the whole order in the ledger, up to the
first batch of one sample; the other side opens the three arrays with `numpy.load(mmap_mode="r")` and reads an
entry of each. Beside the wall time the processor time is given, which other programs change less.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pile_tools import BatchViewer
from pile_tools.algorithms.check_maps import check_doc_idx, check_sample_idx, check_shuffle_idx
from pile_tools.formats.ledger import Ledger
from pile_tools.formats.manifest import FileEntry
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.proofs import Proofs
from pile_tools.formats.recorded_files import hash_claim
from pile_tools.formats.sources import MappedFile
from pile_tools.stages.order import make_order

SEQ_LENGTH = 64
THREADS = os.cpu_count() or 1


def make(directory: Path, samples: int) -> tuple[FileEntry, ...]:
    """Write a dataset whose data is sparse, and its order of two epochs; return the entries of the maps."""
    sizes = np.random.RandomState(0).randint(1, 2 * SEQ_LENGTH, samples // 2 + 2).astype(np.int32)
    write_index(directory / "document.idx", "<u2", sizes)
    with (directory / "document.bin").open("wb") as file:
        file.truncate(2 * int(sizes.sum(dtype=np.int64)))
    total = int(sizes.sum(dtype=np.int64))
    samples = (2 * total - 1) // SEQ_LENGTH
    return make_order(directory, seq_length=SEQ_LENGTH, batch_size=1, steps=samples).record.files


def timed(function: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(
    ours: Callable[[], object], other: Callable[[], object], rounds: int
) -> list[tuple[float, float]]:
    """Return the median wall and processor seconds of both, which take turns."""
    times = [(timed(ours), timed(other)) for _ in range(rounds)]
    sides = zip(*times, strict=True)
    return [tuple(statistics.median(column) for column in zip(*side, strict=True)) for side in sides]


def report(what: str, amount: float, unit: str, sides: list[tuple[float, float]]) -> None:
    (wall, processor), (other_wall, other_processor) = sides
    print(
        f"{what}: {amount / wall:,.2f} {unit} ({amount / processor:,.2f} of processor time), "
        f"the other side {amount / other_wall:,.2f} ({amount / other_processor:,.2f}); "
        f"ratio {other_wall / wall:.2f} ({other_processor / processor:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as temporary:
        directory = Path(temporary)
        os.environ["XDG_CACHE_HOME"] = str(directory / "cache")
        entries = make(directory, options.samples)
        paths = [directory / entry.name for entry in entries]
        sources = [MappedFile(path) for path in paths]
        claims = [hash_claim(source, entry, "") for source, entry in zip(sources, entries, strict=True)]
        n_bytes = sum(entry.bytes for entry in entries)

        def hash_ours() -> None:
            Proofs(ledger=Ledger(None)).prove("order", claims)

        def hash_plain() -> None:
            with ThreadPoolExecutor(THREADS) as pool:
                found = pool.map(lambda source: hashlib.sha256(source.array.data).hexdigest(), sources)
                assert list(found) == [entry.sha256 for entry in entries]

        report("hash", n_bytes / 1e9, "GB/s", compare(hash_ours, hash_plain, options.rounds))
        doc_idx, sample_idx, shuffle_idx = (np.load(path, mmap_mode="r") for path in paths)
        samples = len(shuffle_idx)
        check_shuffle_idx(np.arange(9, dtype=np.uint32), 9)  # compiled
        sides = compare(
            lambda: check_shuffle_idx(shuffle_idx, samples),
            lambda: np.all(np.bincount(shuffle_idx, minlength=samples) == 1),
            options.rounds,
        )
        report("permutation", samples / 1e6, "million entries/s", sides)
        viewer = BatchViewer.open(directory)
        sizes = viewer.dataset.sizes.whole()
        for what, check, count in (
            (
                "doc_idx",
                lambda: check_doc_idx(doc_idx, len(sizes), documents=(0, len(sizes)), epochs=2),
                len(doc_idx),
            ),
            ("sample_idx", lambda: check_sample_idx(sizes, doc_idx, SEQ_LENGTH, sample_idx), samples),
        ):
            check()
            wall, processor = timed(check)
            print(f"{what}: {count / wall / 1e6:,.0f} million entries/s ({count / processor / 1e6:,.0f})")
        wall, _ = timed(lambda: viewer.batch(0))
        print(f"first batch, all proved: {wall:.2f} s for {n_bytes:,} bytes")
        sides = compare(
            lambda: BatchViewer.open(directory).batch(1),
            lambda: [np.load(path, mmap_mode="r")[0] for path in paths],
            max(options.rounds, 9),
        )
        (wall, processor), (other_wall, other_processor) = sides
        print(
            f"open and read a sample, from the ledger: {wall * 1e3:.1f} ms ({processor * 1e3:.1f} of "
            f"processor time), the arrays alone "
            f"{other_wall * 1e3:.1f} ms ({other_processor * 1e3:.1f}); ratio "
            f"{wall / other_wall:.1f} ({processor / other_processor:.1f})"
        )


if __name__ == "__main__":
    main()
