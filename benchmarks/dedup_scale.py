"""Grouping, verification and decision of millions of generated documents: time and memory as they grow.

    python benchmarks/dedup_scale.py --millions 1 5 20 [--memory 2G] [--workers 2]

No text: a document is 48 shingle hashes (about 300 bytes of text) made from its number. Three in ten repeat
an earlier one: a third of these word for word, the others with one to four shingles replaced, so
that similarities run from 0.85 to 1. Signing, grouping, verification and decision are the product's own
tasks; only the reading of shards is replaced by generation, and nothing is written at the end.
Peak memory is the parent's resident peak plus the largest worker's times the workers.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numba import njit

from pile_tools.algorithms.dedup.minhash import permutations, sign
from pile_tools.corpus.records import ReadCounts
from pile_tools.corpus.shards import Shard
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.formats.signatures import DOCUMENT
from pile_tools.formats.sizes import parse_bytes
from pile_tools.jobs.executor import Task, TaskPool
from pile_tools.stages.dedup.dedup import task_budget
from pile_tools.stages.dedup.job import DedupJob, resolve_job
from pile_tools.stages.dedup.phases import DedupRun
from pile_tools.stages.dedup.shingle_sets import SET_KINDS
from pile_tools.stages.dedup.sign import KeyWriter, signed_outputs, write_info
from pile_tools.stages.dedup.work_files import CorpusFiles, DedupPaths
from pile_tools.storage.atomic import atomic_write

SHARD_DOCUMENTS = 250_000
SHINGLES = 48
AT_ONCE = 1 << 14


@njit(cache=True)
def mix(h: int) -> np.uint64:
    h = np.uint64(h) * np.uint64(0x9E3779B97F4A7C15)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


@njit(cache=True)
def generate(first: int, count: int, hashes: np.ndarray, words: np.ndarray) -> None:
    """Shingles of documents first … first + count − 1, and a number that tells their words apart."""
    for i in range(count):
        number = first + i
        draw = mix(2 * number + 1)
        base, changed = number, 0
        if draw % np.uint64(10) < np.uint64(3) and number > 0:
            base = np.int64((draw >> np.uint64(8)) % np.uint64(number))
            kind = (draw >> np.uint64(4)) % np.uint64(3)
            changed = 0 if kind == 0 else np.int64(1 + (draw >> np.uint64(60)) % np.uint64(4))
        words[i] = number if changed else base
        for j in range(SHINGLES):
            source = number if j < changed else base
            hashes[i, j] = mix(np.uint64(source) * np.uint64(SHINGLES) + np.uint64(j))


def shingles_of(first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.empty((count, SHINGLES), dtype=np.uint64)
    words = np.empty(count, dtype=np.int64)
    generate(first, count, hashes, words)
    return hashes, words


def sign_generated(shard: Shard, job: DedupJob, paths: DedupPaths, index: int, count: int) -> None:
    """Do for generated documents what ``sign_shard`` does for text."""
    coefficients = permutations(job.num_perm, job.seed)
    with (
        atomic_write(paths.documents(index)) as one,
        atomic_write(paths.keys(index)) as two,
        NpyWriter(one, DOCUMENT) as documents,
        NpyWriter(two, np.uint64) as keys_file,
    ):
        keys = KeyWriter(job, keys_file)
        for start in range(0, count, AT_ONCE):
            size = min(AT_ONCE, count - start)
            hashes, words = shingles_of(index * SHARD_DOCUMENTS + start, size)
            low = (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32).ravel()
            keys.append(sign(low, np.arange(size + 1) * SHINGLES, coefficients))
            table = np.zeros(size, dtype=DOCUMENT)
            table["row"] = np.arange(start, start + size)
            table["bytes"], table["words"] = 300, SHINGLES + 4
            table["hash"][:, 0] = words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # wraps
            documents.append(table)
        keys.close()
    write_info(paths.info(index), ReadCounts(rows=count, documents=count), sources=[None])


def sets_generated(files: CorpusFiles, index: int) -> None:
    """Do for generated documents what ``write_sets`` does for text."""
    start, stop = int(files.starts[index]), int(files.starts[index + 1])
    chosen = np.flatnonzero(NpyFile.open(files.paths.candidates).read(start, stop))
    documents, offsets, values = (files.paths.sets(kind, index) for kind in SET_KINDS)
    write_npy(documents, chosen)
    write_npy(offsets, np.arange(len(chosen) + 1) * SHINGLES)
    with atomic_write(values) as file, NpyWriter(file, np.uint64) as writer:
        for at in range(0, stop - start, AT_ONCE):
            hashes, _ = shingles_of(start + at, min(AT_ONCE, stop - start - at))
            own = chosen[(chosen >= at) & (chosen < at + AT_ONCE)] - at
            writer.append(np.sort(hashes[own], axis=1).ravel())


class GeneratedRun(DedupRun):
    """A run whose shards are generated."""

    total = 0

    def sign(self) -> None:
        paths = self.files.paths
        counts = [min(SHARD_DOCUMENTS, self.total - i * SHARD_DOCUMENTS) for i in range(len(self.shards))]
        tasks = [
            Task(
                shard.name,
                sign_generated,
                (shard, self.job, paths, i, counts[i]),
                signed_outputs(self.job, paths, i, own=True),
            )
            for i, shard in enumerate(self.shards)
        ]
        self.pool.run(tasks, label="sign", progress=self.progress)

    def _set_tasks(self) -> list[Task]:
        paths = self.files.paths
        return [
            Task(
                shard.name,
                sets_generated,
                (self.files, i),
                tuple(paths.sets(kind, i) for kind in SET_KINDS),
                1 << 30,
            )
            for i, shard in enumerate(self.shards)
        ]

    def write(self) -> None:
        pass


def run_one(documents: int, memory: int, workers: int, directory: Path) -> None:
    """Run one size and print its row of the table."""
    job = resolve_job()
    n_shards = -(-documents // SHARD_DOCUMENTS)
    shards = [Shard(directory / f"{i}.jsonl", f"{i}.jsonl") for i in range(n_shards)]
    seconds: dict[str, float] = {}
    last = ["", time.perf_counter()]

    def progress(label: str, done: int, total: int) -> None:
        if label != last[0]:
            now = time.perf_counter()
            seconds[str(last[0])] = now - float(last[1])
            last[:] = [label, now]

    begun = time.perf_counter()
    files = CorpusFiles(DedupPaths(directory), n_shards)
    with TaskPool(workers) as pool:
        run = GeneratedRun(
            job, [], shards, directory, files, pool, memory, task_budget(memory, workers), progress
        )
        run.total = documents
        run.run()
        progress("", 1, 1)
        disk = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    total = time.perf_counter() - begun
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    removed = len(NpyFile.open(files.paths.decision))
    sign_seconds = seconds.get("sign", 0.0)
    cells = [
        f"{documents / 1e6:g} M",
        f"{removed / 1e6:.2f} M",
        f"{total - sign_seconds:.0f}",
        f"{(total - sign_seconds) / documents * 1e6:.1f}",
        f"{own / 1024:.0f}",
        f"{child / 1024:.0f}",
        f"{(own + workers * child) / 1024:.0f}",
        f"{disk / 1e9:.1f}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)
    phases = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items() if name)
    print(f"{documents}: {phases}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 5, 20], help="documents")
    parser.add_argument("--memory", default="2G")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, parse_bytes(options.memory), options.workers, options.directory)
        return
    print(
        "| documents | removed | seconds after signing | µs each | parent MB | worker MB | all MB | disk GB |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for millions in options.millions:
        directory = Path(tempfile.mkdtemp(dir=options.directory))
        command = [sys.executable, __file__, "--one", str(int(millions * 1e6)), "--memory", options.memory]
        command += ["--workers", str(options.workers), "--directory", str(directory)]
        try:
            subprocess.run(command, check=True, env=os.environ)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
