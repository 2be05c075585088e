"""`pile-tools dedup` against a plain pipeline over datasketch, in turn, on corpora of the same kind.

    python benchmarks/dedup.py [--megabytes 300] [--plain-megabytes 10] [--repeats 3] [--texts CORPUS]

Whole commands, `.jsonl.zst` in and out, start-up included. The plain pipeline is what a user writes with
datasketch: read the shards with zstandard and orjson, words and 5-grams by a regular expression,
`MinHash.update_batch` over the joined 5-grams, `MinHashLSH`, and the kept lines written through zstandard;
one process, since the index is one Python object; its candidates are not verified, ours are. It runs over a
smaller corpus of the same make, and the throughputs are compared: bytes of text a second, and a second of
processor time (of all processes together), which other load on the machine disturbs less.

The second table says where the processor time of one process goes.
"""

import argparse
import ctypes
import io
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import zstandard
from corpora import write_corpus
from datasketch import MinHash, MinHashLSH

from pile_tools.algorithms.minhash import permutations
from pile_tools.algorithms.shingle import shingle_hashes, sign_documents
from pile_tools.formats.corpus import list_shards
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.lines import shard_chunks, shard_lines
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job


def plain_datasketch(corpus: Path, output: Path) -> None:
    """Keep the documents that match none before them."""
    output.mkdir()
    word = re.compile(r"\w+")
    index = MinHashLSH(threshold=0.87, num_perm=128)
    for shard in sorted(corpus.iterdir()):
        stream = zstandard.ZstdDecompressor().stream_reader(shard.open("rb"), read_across_frames=True)
        writer = zstandard.ZstdCompressor(3).stream_writer((output / shard.name).open("wb"), closefd=True)
        with writer as out:
            for row, line in enumerate(io.BufferedReader(stream)):
                words = word.findall(orjson.loads(line)["text"].lower())
                shingles = {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}
                minhash = MinHash(128)
                minhash.update_batch([shingle.encode() for shingle in shingles])
                if not index.query(minhash):
                    out.write(line)
                index.insert((shard.name, row), minhash)


def adopt_orphans() -> None:
    """Become the parent of what outlives its own: the worker processes of a command that has ended."""
    set_child_subreaper = 36
    if ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise SystemExit("the processor time of worker processes can be measured on Linux alone")


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds, and seconds of processor time of the process and of all that came from it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - start
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def shares(corpus: Path, output: Path) -> dict[str, float]:
    """Processor seconds of the parts of one run in one process."""
    marks: dict[str, list[float]] = {}

    def progress(label: str, done: int, total: int) -> None:
        marks.setdefault(label.split()[0], []).append(time.process_time())

    start = time.process_time()
    dedup([corpus], output, resolve_job(), workers=1, progress=progress)
    whole = time.process_time() - start
    parts = {label: times[-1] - times[0] for label, times in marks.items()}
    # What reading and signing consist of, each measured by itself over the same shards.
    shards = list_shards([corpus])
    read = processor_seconds(lambda: [sum(map(len, shard_chunks(shard))) for shard in shards])
    lines = processor_seconds(lambda: [sum(1 for _ in shard_lines(shard)) for shard in shards])
    batches = [batch for shard in shards for batch in ShardReader(shard, batch_bytes=4 << 20)]
    parsed = processor_seconds(
        lambda: [sum(len(b) for b in ShardReader(shard, batch_bytes=4 << 20)) for shard in shards]
    )
    coefficients = permutations(128, 1)
    shingled = processor_seconds(lambda: [shingle_hashes(b.text, b.offsets, 5)[1] for b in batches])
    signed = processor_seconds(lambda: [sign_documents(b.text, b.offsets, 5, coefficients) for b in batches])
    found = {
        "reading (zstd)": read,
        "parsing (lines, JSON)": max(lines, parsed) - read,
        "shingling": shingled,
        "signing": signed - shingled,
        "band keys and work files": parts["sign"] - parsed - signed,
        "grouping": parts["same"] + parts["group"],
        "sets of candidates": parts["sets"],
        "verifying": parts["verify"],
        "deciding": parts["labels"] + parts["link"] + parts["ask"] + parts["near"] + parts["decide"],
        "writing": parts["write"],
    }
    return found | {"everything else": whole - sum(found.values())}


def exact_seconds(corpus: Path, output: Path) -> tuple[float, float]:
    """Processor seconds that `--exact` takes to find duplicates, and those of reading the same shards."""
    marks: dict[str, list[float]] = {}

    def progress(label: str, done: int, total: int) -> None:
        marks.setdefault(label, []).append(time.process_time())

    dedup([corpus], output, resolve_job(exact=True), workers=1, progress=progress)
    shards = list_shards([corpus])
    read = processor_seconds(lambda: [sum(map(len, ShardReader(shard))) for shard in shards])
    return marks["decide"][-1] - marks["sign"][0], read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=300)
    parser.add_argument("--plain-megabytes", type=float, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--texts", nargs="*", type=Path, default=[], help="take sentences from these corpora")
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain_datasketch(*options.plain)
        return
    adopt_orphans()
    program = str(Path(sys.executable).with_name("pile-tools"))
    with tempfile.TemporaryDirectory() as name:  # compiles the kernels, once for every run
        work = Path(name)
        write_corpus(work / "tiny", 0.5, 4_000, texts=options.texts)
        timed([program, "dedup", str(work / "tiny"), "-o", str(work / "out")])
    tables: dict[int, dict[str, float]] = {}
    exact: dict[int, tuple[float, float]] = {}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.workers} workers")
    print("| mean document | documents | MB of text | pile-tools MB/s | datasketch MB/s | ratio ", end="")
    print("| MB per processor second: pile-tools | datasketch | ratio |\n|" + " --- |" * 9)
    for size in (4_000, 18_000):
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            texts = options.texts
            count, large = write_corpus(work / "large", options.megabytes, size, texts=texts)
            _, small = write_corpus(work / "small", options.plain_megabytes, size, texts=texts, seed=2)
            ours, plain = [], []
            for i in range(options.repeats):
                arguments = ["-o", str(work / f"ours{i}"), "--workers", str(options.workers)]
                ours.append(timed([program, "dedup", str(work / "large"), *arguments]))
                arguments = ["--plain", str(work / "small"), str(work / f"plain{i}")]
                plain.append(timed([sys.executable, __file__, *arguments]))
            wall, cpu = (large / statistics.median(run[k] for run in ours) / 1e6 for k in (0, 1))
            plain_wall, plain_cpu = (small / statistics.median(run[k] for run in plain) / 1e6 for k in (0, 1))
            print(
                f"| {large / count:,.0f} B | {count:,} | {large / 1e6:.0f} | {wall:.1f} | {plain_wall:.2f} "
                f"| {wall / plain_wall:.0f} | {cpu:.1f} | {plain_cpu:.2f} | {cpu / plain_cpu:.0f} |",
                flush=True,
            )
            tables[size] = shares(work / "large", work / "shares")
            exact[size] = exact_seconds(work / "large", work / "exact")
    print(
        "\n| part | " + " | ".join(f"{size:,} B" for size in tables) + " |\n|" + " --- |" * (len(tables) + 1)
    )
    for part in tables[4_000]:
        cells = [
            f"{found[part]:.2f} s ({found[part] / sum(found.values()):.0%})" for found in tables.values()
        ]
        print(f"| {part} | " + " | ".join(cells) + " |")
    for size, (found, read) in exact.items():
        print(
            f"\n{size:,} B: --exact finds duplicates in {found:.2f} s, reading and parsing take {read:.2f} s"
        )
    print(f"\nload {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
