"""Tokenization of one shard: bad, large and truncated records, and ids that cannot be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash

from pile_tools.checks.checks import verify
from pile_tools.errors import DataError
from pile_tools.stages.tokenize import shard as tokenize_shard
from pile_tools.stages.tokenize.encoder import ReferenceEncoder
from pile_tools.stages.tokenize.tokenize import tokenize
from tests.stages.tokenize.conftest import record, write_shard


def test_shards_without_documents_among_others(small: Path, tmp_path: Path) -> None:
    for number, records in enumerate(([], [record("a")], [b""], [record("b")])):
        write_shard(tmp_path / f"in/{number}.jsonl", list(records))
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    assert [entry.documents for entry in manifest.inputs] == [0, 1, 0, 1]
    assert pq.read_table(tmp_path / "t/documents.parquet").column("shard").to_pylist() == [
        "1.jsonl",
        "3.jsonl",
    ]
    assert [finding.check for finding in verify([tmp_path / "t"])][-1] == "tokenizer"


def test_bad_records_are_an_error_or_counted(small: Path, tmp_path: Path) -> None:
    shard = write_shard(
        tmp_path / "in/a.jsonl", [record("a"), b"{", {"meta": {}}, record(7), b"", record("b")]
    )
    with pytest.raises(DataError, match=rf"{shard}:1: "):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    manifest = tokenize([tmp_path / "in"], tmp_path / "u", tokenizer=str(small), on_bad_record="skip")
    assert (manifest.counts["skipped_records"], manifest.counts["blank_lines"]) == (3, 1)
    assert pq.read_table(tmp_path / "u/documents.parquet").column("row").to_pylist() == [0, 5]
    assert [entry.documents for entry in manifest.inputs] == [2]


def test_a_record_too_large_to_hold_is_an_error_or_counted(small: Path, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "in/a.jsonl", [record("a"), record("x" * 500), record("b")])
    settings: Any = {"tokenizer": str(small), "max_document_bytes": 200}
    with pytest.raises(DataError, match=rf"{shard}:1: a record of more than 200 bytes.*--max-document-bytes"):
        tokenize([tmp_path / "in"], tmp_path / "t", **settings)
    manifest = tokenize([tmp_path / "in"], tmp_path / "u", on_bad_record="skip", **settings)
    assert (manifest.counts["documents"], manifest.counts["oversized_records"]) == (2, 1)
    assert pq.read_table(tmp_path / "u/documents.parquet").column("row").to_pylist() == [0, 2]


def test_invalid_utf8_is_repaired_and_counted(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [b'{"text": "a\xff"}', b'{"text": "\\ud800"}', record("ok")])
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    assert (manifest.counts["repaired_documents"], manifest.counts["replaced_characters"]) == (2, 2)
    digests = pq.read_table(tmp_path / "t/documents.parquet").column("text_xxh3_128").to_pylist()
    assert digests[:2] == [xxhash.xxh3_128_digest(text.encode()) for text in ("a\ufffd", "\ufffd")]


def test_a_truncated_shard_is_never_a_short_dataset(small: Path, tmp_path: Path) -> None:
    import zstandard

    whole = zstandard.compress(
        b"".join(json.dumps(record(f"{i} text")).encode() + b"\n" for i in range(5000))
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.jsonl\.zst: truncated"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))


def test_a_document_of_too_many_tokens_is_refused_with_its_address(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard(tmp_path / "in/a.jsonl", [record("abc"), record("abcd")])
    monkeypatch.setattr(tokenize_shard, "_MAX_TOKENS", 4)
    with pytest.raises(DataError, match=rf"{shard}:1: 5 tokens.* at most 4"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), workers=1)


def test_an_id_beyond_the_vocabulary_is_never_written(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: Any, texts: list[str]) -> tuple[Any, Any]:
        return np.array([70_000], np.uint32), np.array([1])

    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    monkeypatch.setattr(ReferenceEncoder, "encode", encode)
    with pytest.raises(DataError, match="gave the id 70000, but its vocabulary ends at 256"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), workers=1, encoder="tokenizers")
