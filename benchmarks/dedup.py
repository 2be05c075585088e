"""`pile-tools dedup` against a plain pipeline over datasketch, in turn, on the same corpora.

    python benchmarks/dedup.py [--megabytes 60] [--repeats 3]

The plain pipeline is what a user writes with datasketch: read the shards with zstandard and orjson, words
and 5-grams by a regular expression, `MinHash.update_batch` over the joined 5-grams, `MinHashLSH`, and the
kept lines written through zstandard. Its candidates are not verified; ours are. Each side runs as a
process of its own, start-up included.
"""

import argparse
import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import zstandard
from corpora import write_corpus
from datasketch import MinHash, MinHashLSH


def plain_datasketch(corpus: Path, output: Path) -> None:
    """Keep the documents that match none before them (one process: an index is one Python object)."""
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


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--plain-megabytes", type=float, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain_datasketch(*options.plain)
        return
    print("| document bytes | pile-tools MB/s | datasketch MB/s | ratio |\n| --- | --- | --- | --- |")
    for size in (4_000, 18_000):
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            large = write_corpus(work / "large", options.megabytes, size)
            small = write_corpus(work / "small", options.plain_megabytes, size)
            ours, plain = [], []
            for i in range(options.repeats):
                command = ["pile-tools", "dedup", str(work / "large"), "-o", str(work / f"ours{i}")]
                command[0] = str(Path(sys.executable).with_name("pile-tools"))
                ours.append(large / timed(command) / 1e6)
                command = [sys.executable, __file__, "--plain", str(work / "small"), str(work / f"plain{i}")]
                plain.append(small / timed(command) / 1e6)
            fast, slow = statistics.median(ours), statistics.median(plain)
            print(f"| {size:,} | {fast:.1f} | {slow:.2f} | {fast / slow:.0f} |", flush=True)


if __name__ == "__main__":
    main()
