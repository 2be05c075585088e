"""Synthetic corpora for benchmarks: words drawn by Zipf's law, with planted near-duplicates."""

import json
from pathlib import Path

import numpy as np

from pile_tools.formats.zstd import RowFrameWriter


def vocabulary(size: int = 50_000, seed: int = 0) -> list[str]:
    """Made-up words of 2 to 11 letters, about as long as English ones where they are frequent."""
    rng = np.random.RandomState(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    weights = 1 / np.arange(2, 28)
    weights /= weights.sum()
    lengths = np.clip(2 + np.log2(np.arange(1, size + 1)) / 2 + rng.randn(size), 2, 11).astype(int)
    return ["".join(rng.choice(letters, n, p=weights)) for n in lengths]


def zipf_words(rng: np.random.RandomState, words: np.ndarray, count: int) -> np.ndarray:
    """Draw words so that rank r comes with a share of about 1/r."""
    ranks = np.exp(rng.rand(count) * np.log(len(words))).astype(int) - 1
    return words[np.clip(ranks, 0, len(words) - 1)]


def write_corpus(
    directory: Path,
    megabytes: float,
    document_bytes: int,
    shards: int = 4,
    duplicates: float = 0.2,
    seed: int = 1,
) -> int:
    """Write ``.jsonl.zst`` shards of about ``megabytes`` of text; return the exact number of text bytes.

    A share ``duplicates`` of the documents repeat an earlier one of their shard, with few words changed.
    """
    directory.mkdir(parents=True)
    words = np.array(vocabulary(), dtype=object)
    rng = np.random.RandomState(seed)
    total = 0
    for shard in range(shards):
        with (directory / f"{shard:02}.jsonl.zst").open("wb") as file:
            writer = RowFrameWriter(file)
            written, recent = 0, []
            while written < megabytes * 1e6 / shards:
                if recent and rng.rand() < duplicates:
                    own = recent[rng.randint(len(recent))].copy()
                    changes = int(len(own) * rng.rand() * 0.06 / 5)
                    own[rng.randint(0, len(own), changes)] = zipf_words(rng, words, changes)
                else:
                    own = zipf_words(
                        rng, words, max(20, int(rng.lognormal(0, 0.8) * document_bytes / 1.38 / 5.6))
                    )
                    recent = [*recent[-99:], own]
                lines = [" ".join(own[i : i + 12]) for i in range(0, len(own), 12)]
                text = ".\n".join(lines)
                record = {"text": text, "meta": {"pile_set_name": f"Made-{document_bytes}"}}
                writer.write(json.dumps(record).encode() + b"\n")
                written += len(text)
            writer.close()
        total += written
    return total
