"""Streams for the lookups: small enough that every token can be looked at one by one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from pile_tools import BatchViewer
from pile_tools.formats.documents_parquet import ProvenanceWriter, provenance_table
from pile_tools.lookups import search
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.order import make_order
from pile_tools.storage.atomic import atomic_write
from tests.token_data import write_dataset

# Short tokens that overlap in many ways; two of them are halves of a character.
VOCABULARY = ["a", "b", "ab", "ba", "aa", "aba", "c", "Ġ", "Ġa", "bab", "Ã", "©", "<|end|>"]

RECIPES = ("neox", "megatron-core", "sequential")
FORMS = (*RECIPES, "shards", "pread", "blend", "fetched", "fetched blend")
"""Recipes, and other ways in which a stream lies on disk."""

MakeStream = Callable[..., BatchViewer]


def save_small_tokenizer(path: Path) -> None:
    """A byte-level tokenizer of the tokens above."""
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(VOCABULARY)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.save(str(path))


SENTENCE_PIECES = [
    "<unk>",
    "</s>",
    "▁",
    "a",
    "b",
    "▁a",
    "ab",
    *(f"<0x{b:02X}>" for b in b" \xc3\xa9\xe4\xb8\xad"),
]


def sentence_piece_tokenizer() -> Tokenizer:
    """A tokenizer of the tokens above, which normalises and decodes as that of Llama 2 does."""
    vocabulary = {token: number for number, token in enumerate(SENTENCE_PIECES)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    return tokenizer


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


@pytest.fixture(scope="session", autouse=True)
def _files_are_not_flushed() -> Iterator[None]:
    """Hundreds of small streams are made; what they hold need not outlive a loss of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


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
        form: str = "neox",
    ) -> BatchViewer:
        directory = tmp_path_factory.mktemp("stream")
        fetched, form = form.startswith("fetched"), form.removeprefix("fetched").strip() or "neox"
        if fetched:
            whole = make(
                documents,
                seq_length=seq_length,
                batch_size=batch_size,
                num_samples=num_samples,
                dtype=dtype,
                provenance=provenance,
                tokenizer=tokenizer,
                form=form,
            )
            if whole.steps == 0:  # nothing can be fetched of it
                return whole
            fetch_steps(whole, 0, whole.steps, directory / "steps")
            return BatchViewer.open(directory / "steps")
        shape = {"seq_length": seq_length, "batch_size": batch_size, "num_samples": num_samples}
        parts = [documents]
        if form == "blend":
            parts = [documents[::2], documents[1::2]]
        elif form == "sequential":
            tokens = [token for document in documents for token in document] + [0] * (seq_length + 1)
            starts = range(0, len(tokens) - seq_length, seq_length + 1)
            parts = [[tokens[start : start + seq_length + 1] for start in starts]]
            shape["num_samples"] = min(num_samples, len(parts[0]))
        places = [directory / str(number) for number in range(len(parts))]
        for place, part in zip(places, parts, strict=True):
            arrays = [np.array(document, dtype) for document in part]
            write_dataset(place, arrays, shard_bytes=13 if form == "shards" else None)
            if provenance:
                write_provenance(place, [len(document) for document in part])
            if tokenizer:
                save_small_tokenizer(place / "tokenizer.json")
        if form == "blend":
            make_blend(places, ["0.7", "0.3"], directory / "blend", **shape)
            return BatchViewer.open(directory / "blend")
        make_order(places[0], recipe=form if form in RECIPES else "neox", **shape)
        return BatchViewer.open(places[0], io="pread" if form == "pread" else "mmap")

    return make


def directory_of(viewer: BatchViewer) -> Path:
    return Path(viewer.order.store.name)


BYTES = [
    {"Ġ": b" ", "Ġa": b" a", "Ã": b"\xc3", "©": b"\xa9"}.get(token, token.encode()) for token in VOCABULARY
]


END = len(VOCABULARY) - 1


def usable(several: list[list[int]], form: str) -> list[list[int]]:
    """The documents, with enough in each half for both datasets of a blend."""
    return [[1, 2, 3], [4, 5, 6], *several] if form.endswith("blend") else several


def choose(way: str, patch: pytest.MonkeyPatch) -> None:
    """Have matches found in the order of the stream, or in the order of the file."""
    patch.setattr(search, "_GATHER_FACTOR", 0 if way == "gather" else 10**9)
    if way == "scan in small blocks":
        patch.setattr(search, "_BLOCK_TOKENS", 5)
        patch.setattr(search, "_GATHER_TOKENS", 7)
        patch.setattr(search, "_FLUSH", 2)


def rows(table: Any) -> list[tuple[Any, ...]]:
    names = ("step", "row", "position", "n_tokens", "pattern")
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def sequences(viewer: BatchViewer) -> list[tuple[int, int, list[int]]]:
    steps = range(viewer.steps)
    return [
        (step, row, viewer.sequence(step, row).tolist()) for step in steps for row in range(viewer.batch_size)
    ]
