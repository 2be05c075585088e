"""One document by its address: our frames against a stream, and one number against the whole table.

A shard of `--documents` records is written once in frames, as `pile-tools dedup` writes it, and once as
one zstd frame, as most published corpora are. The same random rows are read from both. Then random
documents are looked up in a `documents.parquet` of `--rows` rows, against reading the table.
"""

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet as pq
import zstandard

from pile_tools.corpus.row_lookup import read_text
from pile_tools.corpus.shards import Shard
from pile_tools.corpus.zstd import RowFrameWriter
from pile_tools.formats.documents_parquet import Provenance, ProvenanceWriter, provenance_table


def report(what: str, ours: list[float], theirs: list[float]) -> None:
    one, two = statistics.median(ours), statistics.median(theirs)
    print(f"{what}: {one:.2f} ms against {two:.2f} ms, ratio {two / one:.0f}")


def rows_of_shards(directory: Path, documents: int, rounds: int) -> None:
    generator = random.Random(0)
    words = ["".join(generator.choices("abcdefghijklmnop", k=generator.randint(2, 9))) for _ in range(5000)]
    lines = [
        orjson.dumps({"text": " ".join(generator.choices(words, k=1000)), "number": number}) + b"\n"
        for number in range(documents)
    ]
    framed, single = directory / "framed.jsonl.zst", directory / "single.jsonl.zst"
    with framed.open("wb") as file:
        writer = RowFrameWriter(file)
        for line in lines:
            writer.write(line)
        writer.close()
    single.write_bytes(zstandard.compress(b"".join(lines)))
    print(f"shards of {documents} documents, {sum(map(len, lines)) / 1e6:.0f} MB of lines")
    ours, theirs = [], []
    for _ in range(rounds):
        row = generator.randrange(documents)
        found = []
        for path, times in ((framed, ours), (single, theirs)):
            start = time.perf_counter()
            found.append(read_text(Shard(path, path.name), row))
            times.append((time.perf_counter() - start) * 1e3)
        assert found[0] == found[1]
    report("text of a row, frames against a stream", ours, theirs)


def documents_of_table(directory: Path, rows: int, rounds: int) -> None:
    path = directory / "documents.parquet"
    generator = np.random.RandomState(0)
    digests = [generator.bytes(16) for _ in range(1 << 16)]
    with path.open("wb") as file, ProvenanceWriter(file) as writer:
        for start in range(0, rows, len(digests)):
            count = min(len(digests), rows - start)
            sizes = generator.randint(1, 4000, count)
            numbers = np.arange(count)
            table = provenance_table(
                f"{start:09d}.jsonl.zst", numbers, ["Web"] * count, sizes, digests[:count]
            )
            writer.write(table)
    print(f"documents.parquet of {rows:,} rows, {path.stat().st_size / 1e6:.0f} MB")
    ours, theirs = [], []
    for _ in range(rounds):
        number = int(generator.randint(rows))
        start = time.perf_counter()
        Provenance(path).lookup(number)
        middle = time.perf_counter()
        pq.read_table(path)
        ours.append((middle - start) * 1e3)
        theirs.append((time.perf_counter() - middle) * 1e3)
    report("opening it and looking up a document, against reading it", ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows_of_shards(Path(temporary), options.documents, options.rounds)
        documents_of_table(Path(temporary), options.rows, options.rounds)


if __name__ == "__main__":
    main()
