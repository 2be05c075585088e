"""Shards of records and a tokenizer of bytes, for the tests of tokenization."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

Record = dict[str, Any]


def record(text: Any, source: str | None = "Web") -> Record:
    return {"text": text, "meta": {} if source is None else {"pile_set_name": source}}


def write_shard(path: Path, records: list[Record | bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def byte_tokenizer(path: Path, **more: int) -> Path:
    """A tokenizer whose tokens are bytes, and EOD."""
    vocab = {"<|endoftext|>": 0}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocab[character] = len(vocab)
    vocab |= more
    built = Tokenizer(models.BPE(vocab, []))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.add_special_tokens(["<|endoftext|>"])
    built.save(str(path))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return byte_tokenizer(tmp_path / "tokenizer.json")


def read_independently(directory: Path) -> list[list[int]]:
    """The documents of a token dataset, from the format's description alone."""
    index = (directory / "document.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    version, code, count, boundaries = struct.unpack("<QBQQ", index[9:34])
    assert (version, boundaries) == (1, count + 1)
    sizes = struct.unpack(f"<{count}i", index[34 : 34 + 4 * count])
    pointers = struct.unpack(f"<{count}q", index[34 + 4 * count : 34 + 12 * count])
    assert index[34 + 12 * count :] == struct.pack(f"<{count + 1}q", *range(count + 1))
    files = sorted(directory.glob("document*.bin"))
    data = b"".join(file.read_bytes() for file in files)
    dtype = {4: np.dtype("<i4"), 8: np.dtype("<u2")}[code]
    assert len(data) == sum(sizes) * dtype.itemsize
    return [
        np.frombuffer(data, dtype, size, pointer).tolist()
        for size, pointer in zip(sizes, pointers, strict=True)
    ]


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
