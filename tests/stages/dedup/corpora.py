"""Corpora with planted near-duplicates, and readers of what a deduplication leaves of them."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.shards import Shard
from pile_tools.corpus.zstd import RowFrameWriter
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.dedup.tables import DEDUP_SCHEMA
from pile_tools.storage.manifest import Manifest

VOCABULARY = [f"word{i}" for i in range(500)]


def text_of(words: list[str]) -> str:
    return " ".join(words)


def planted(seed: int, clusters: int, length: int = 150) -> list[str]:
    """Documents in clusters whose members differ by a few words, mixed, and some unlike all others."""
    rng = random.Random(seed)
    texts = []
    for _ in range(clusters):
        base = rng.choices(VOCABULARY, k=length)
        texts.append(text_of(base))
        for _ in range(rng.choice([0, 0, 1, 2, 5])):
            copy = list(base)
            for _ in range(rng.choice([0, 0, 1, 2, 3, 6])):
                copy[rng.randrange(length)] = rng.choice(VOCABULARY)
            texts.append(text_of(copy))
    rng.shuffle(texts)
    return texts


def write_zst(path: Path, lines: list[bytes]) -> None:
    with path.open("wb") as file:
        writer = RowFrameWriter(file)
        for line in lines:
            writer.write(line)
        writer.close()


def record(text: str, source: str = "A") -> bytes:
    return json.dumps({"id": 1, "text": text, "meta": {"pile_set_name": source}}).encode() + b"\n"


def write_corpus(directory: Path, texts: list[str], shards: int = 3) -> Path:
    directory.mkdir()
    for i in range(shards):
        lines = [record(text, "AB"[j % 2]) for j, text in enumerate(texts[i::shards])]
        write_zst(directory / f"{i}.jsonl.zst", lines)
    return directory


def in_order(texts: list[str], shards: int = 3) -> list[tuple[str, int, str]]:
    """The documents of ``write_corpus`` as (shard, row, text), in corpus order."""
    return [(f"{i}.jsonl.zst", row, text) for i in range(shards) for row, text in enumerate(texts[i::shards])]


def removed_rows(output: Path) -> list[dict[str, Any]]:
    table = pq.read_table(output / "dedup.parquet")
    assert table.schema.equals(DEDUP_SCHEMA)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def kept_texts(output: Path) -> list[tuple[str, str]]:
    found = []
    for entry in Manifest.read(output).outputs:
        if entry.documents is not None:
            shard = Shard(output / entry.name, entry.name)
            found += [(entry.name, text) for batch in ShardReader(shard) for text in batch.texts()]
    return found


def all_files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


JOB = resolve_job(save_signatures=True, on_bad_record="skip")


class Stop:
    """A progress function that interrupts the run at its ``calls``-th call."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, label: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


class StopAt:
    """A progress function that interrupts the run at the end of a phase."""

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def __call__(self, label: str, done: int, total: int) -> None:
        if label == self.phase and done == total:
            raise KeyboardInterrupt
