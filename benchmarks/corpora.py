"""Corpora for benchmarks: real sentences and lines in new combinations, with planted near-duplicates."""

import json
import re
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pile_tools.corpus.reader import ShardReader
from pile_tools.corpus.shards import list_shards
from pile_tools.corpus.zstd import RowFrameWriter

RECENT = 500  # documents back to which a planted near-duplicate reaches
RUN = 4  # pieces that stay together on average, as they stood in their text


def vocabulary(size: int = 50_000, seed: int = 0) -> list[str]:
    """Made-up words of 2 to 11 letters, about as long as English ones where they are frequent."""
    rng = np.random.RandomState(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkqjxz"))
    weights = 1 / np.arange(2, 28)
    weights /= weights.sum()
    lengths = np.clip(2 + np.log2(np.arange(1, size + 1)) / 2 + rng.randn(size), 2, 11).astype(int)
    return ["".join(rng.choice(letters, n, p=weights)) for n in lengths]


def read_texts(paths: Sequence[Path]) -> list[str]:
    """The documents of the corpora ``paths``; where none is given, the sources of the standard library."""
    if paths:
        return [
            text for shard in list_shards(paths) for batch in ShardReader(shard) for text in batch.texts()
        ]
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    return [path.read_text("utf-8", "replace") for path in files]


def cut_pieces(texts: Sequence[str]) -> list[str]:
    """Sentences and lines, each with the white space that follows it."""
    return [piece for text in texts for piece in re.findall(r".*?(?:[.!?][\"”’)]?\s+|\n+|$)", text) if piece]


def change_words(rng: np.random.RandomState, text: str, similarity: float) -> str:
    """Put made-up words into ``text``, so many that its 5-grams come to about ``similarity`` with the old."""
    words = re.split(r"(\w+)", text)
    n = len(words) // 2
    changes = round(n * (1 - similarity) / (5 * (1 + similarity)))
    for place in rng.choice(n, min(n, changes), replace=False).tolist():
        words[2 * place + 1] = "w" + format(rng.randint(1 << 31), "x")
    return "".join(words)


def documents(
    pieces: Sequence[str], document_bytes: int, duplicates: float, seed: int
) -> Iterator[tuple[str, int]]:
    """Texts of about ``document_bytes`` on average (log-normal), without end, and their UTF-8 lengths.

    A share ``duplicates`` of them repeat one of the last ``RECENT``, at a similarity between 0.6 and 1.
    """
    rng = np.random.RandomState(seed)
    recent: list[str] = []
    sigma = 0.8
    while True:
        if recent and rng.rand() < duplicates:
            text = change_words(rng, recent[rng.randint(len(recent))], rng.uniform(0.6, 1.0))
        else:
            wanted = rng.lognormal(-sigma * sigma / 2, sigma) * document_bytes
            parts, size = [], 0
            while size < wanted:
                start = rng.randint(len(pieces))
                run = pieces[start : start + rng.geometric(1 / RUN)]
                parts += run
                size += sum(map(len, run))
            text = "".join(parts)
            recent = [*recent[1 - RECENT :], text]
        yield text, len(text.encode())


def write_corpus(
    directory: Path,
    megabytes: float,
    document_bytes: int,
    *,
    texts: Sequence[Path] = (),
    shards: int = 8,
    duplicates: float = 0.2,
    seed: int = 1,
) -> tuple[int, int]:
    """Write ``.jsonl.zst`` shards of about ``megabytes`` of text; return documents and bytes of text."""
    directory.mkdir(parents=True)
    stream = documents(cut_pieces(read_texts(texts)), document_bytes, duplicates, seed)
    count = total = 0
    for shard in range(shards):
        with (directory / f"{shard:02}.jsonl.zst").open("wb") as file:
            writer = RowFrameWriter(file)
            while total < megabytes * 1e6 * (shard + 1) / shards:
                text, size = next(stream)
                record = {"text": text, "meta": {"pile_set_name": f"Made-{document_bytes}"}}
                writer.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
                count += 1
                total += size
            writer.close()
    return count, total
