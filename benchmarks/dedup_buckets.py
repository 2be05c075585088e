"""Buckets of a million: identical documents, and different ones that share a boilerplate.

    python benchmarks/dedup_buckets.py [--documents 1000000]

Identical: one document of 120 words, over and over. Boilerplate: 100 words in common and 12 of its own each,
so that any two have a similarity of about 0.8 and share about one band in six. Whole command, in one
process after another, at the size and at half of it: the ratio of the times says how time grows.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from corpora import vocabulary

from pile_tools.corpus.zstd import RowFrameWriter
from pile_tools.storage.manifest import Manifest

SHARD_DOCUMENTS = 125_000


def write(directory: Path, kind: str, documents: int) -> None:
    directory.mkdir()
    words = np.array(vocabulary(), dtype=object)
    rng = np.random.RandomState(3)
    shared = " ".join(words[rng.randint(0, len(words), 100)])
    for start in range(0, documents, SHARD_DOCUMENTS):
        with (directory / f"{start // SHARD_DOCUMENTS}.jsonl.zst").open("wb") as file:
            writer = RowFrameWriter(file)
            for _ in range(min(SHARD_DOCUMENTS, documents - start)):
                own = (
                    "twelve words more"
                    if kind == "identical"
                    else " ".join(words[rng.randint(0, len(words), 12)])
                )
                writer.write(f'{{"text": "{shared} {own}"}}\n'.encode())
            writer.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    options = parser.parse_args()
    print("| bucket | documents | removed | seconds |\n| --- | --- | --- | --- |", flush=True)
    for kind in ("identical", "boilerplate"):
        for documents in (options.documents // 2, options.documents):
            with tempfile.TemporaryDirectory() as name:
                corpus, output = Path(name) / "in", Path(name) / "out"
                write(corpus, kind, documents)
                command = [
                    str(Path(sys.executable).with_name("pile-tools")),
                    "dedup",
                    str(corpus),
                    "-o",
                    str(output),
                ]
                begun = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds = time.perf_counter() - begun
                removed = Manifest.read(output).counts["removed"]
                print(f"| {kind} | {documents:,} | {removed:,} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
