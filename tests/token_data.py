"""Token datasets for tests, written with numpy alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pile_tools.formats.documents_parquet import ProvenanceWriter, provenance_table
from pile_tools.formats.mmidx import write_index
from pile_tools.jobs.join_files import shard_name
from pile_tools.stages.order.order import make_order
from pile_tools.storage.atomic import atomic_write

GOLDEN = Path(__file__).parent / "golden"
# Sizes of the 24 documents of a small dataset, of which some are empty and some have one token.
SIZES = [9, 0, 40, 3, 17, 1] * 4


def random_documents(seed: int, sizes: Sequence[int], dtype: str = "<u2") -> list[npt.NDArray[Any]]:
    generator = np.random.RandomState(seed)
    return [generator.randint(0, 60_000, size).astype(dtype) for size in sizes]


def write_dataset(
    directory: Path,
    documents: Sequence[npt.NDArray[Any]],
    *,
    prefix: str = "document",
    shard_bytes: int | None = None,
) -> Path:
    """Write a token dataset and return its prefix."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = documents[0].dtype
    write_index(directory / f"{prefix}.idx", dtype, np.array([len(document) for document in documents]))
    content = b"".join(document.tobytes() for document in documents)
    write_data(directory, prefix, content, shard_bytes)
    return directory / prefix


def write_data(directory: Path, prefix: str, content: bytes, shard_bytes: int | None) -> None:
    if shard_bytes is None:
        (directory / f"{prefix}.bin").write_bytes(content)
        return
    parts = [content[start : start + shard_bytes] for start in range(0, len(content), shard_bytes)]
    for number, part in enumerate(parts):
        (directory / shard_name(prefix, number, len(parts) - 1)).write_bytes(part)


def add_provenance(directory: Path, rows: int) -> None:
    """Write documents.parquet for the first ``rows`` documents of ``SIZES``, six from each of four shards."""
    with atomic_write(directory / "documents.parquet") as file, ProvenanceWriter(file) as writer:
        for shard in range(4):
            numbers = range(shard * 6, min((shard + 1) * 6, rows))
            sources = [["Web", None, "Code"][number % 3] for number in numbers]
            sizes = [SIZES[number] for number in numbers]
            digests = [bytes(16)] * len(sizes)
            writer.write(provenance_table(f"{shard}.jsonl", range(len(sizes)), sources, sizes, digests))


def save_tokenizer(path: Path, size: int) -> None:
    """Write a byte-level tokenizer of ``size`` tokens without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"w{number}" for number in range(size - len(alphabet)))]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))


def samples(n: int, length: int = 9) -> list[Any]:
    return random_documents(3, [length] * n)


def write_ordered(directory: Path) -> Path:
    """Write a dataset of the documents of ``SIZES`` with an order of 10 steps of 4 samples of 9 tokens."""
    write_dataset(directory, random_documents(0, SIZES))
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    return directory
