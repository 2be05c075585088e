"""Streams for the lookups: small enough that every token can be looked at one by one."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pile_tools import BatchViewer
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.provenance import ProvenanceWriter, provenance_table
from pile_tools.stages.order import make_order
from tests.token_data import write_dataset

# Short tokens that overlap in many ways; two of them are halves of a character.
VOCABULARY = ["a", "b", "ab", "ba", "aa", "aba", "c", "Ġ", "Ġa", "bab", "Ã", "©", "<|end|>"]

MakeStream = Callable[..., BatchViewer]


def save_small_tokenizer(path: Path) -> None:
    """A byte-level tokenizer of the tokens above."""
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(VOCABULARY)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))


def write_provenance(directory: Path, sizes: Sequence[int]) -> None:
    """Documents from two shards, of the sources Web, none, and Code in turn."""
    with atomic_write(directory / "documents.parquet") as file, ProvenanceWriter(file) as writer:
        half = (len(sizes) + 1) // 2
        for shard in range(2):
            numbers = range(shard * half, min((shard + 1) * half, len(sizes)))
            sources = [["Web", None, "Code"][number % 3] for number in numbers]
            digests = [number.to_bytes(16, "big") for number in numbers]
            part = [sizes[number] for number in numbers]
            writer.write(provenance_table(f"{shard}.jsonl", range(len(part)), sources, part, digests))


@pytest.fixture(scope="session")
def make_stream(tmp_path_factory: pytest.TempPathFactory) -> MakeStream:
    def make(
        documents: Sequence[Sequence[int]],
        *,
        seq_length: int = 5,
        batch_size: int = 2,
        num_samples: int = 12,
        dtype: str = "<u2",
        provenance: bool = False,
        tokenizer: bool = True,
    ) -> BatchViewer:
        directory = tmp_path_factory.mktemp("stream")
        write_dataset(directory, [np.array(document, dtype) for document in documents])
        make_order(directory, seq_length=seq_length, batch_size=batch_size, num_samples=num_samples)
        if provenance:
            write_provenance(directory, [len(document) for document in documents])
        if tokenizer:
            save_small_tokenizer(directory / "tokenizer.json")
        return BatchViewer.open(directory)

    return make
