"""Checks of a token dataset: files that are as listed but contradict one another."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pile_tools.checks import tokens as verify_tokens
from pile_tools.checks.checks import verify
from pile_tools.errors import DataError
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.token_dataset import TokenDataset
from tests.checks.conftest import list_again
from tests.checks.test_checks import edit_manifest
from tests.token_data import GOLDEN


def change_token(directory: Path, document: int, value: int) -> None:
    """Put ``value`` in the place of the last token of ``document``."""
    paths = sorted(directory.glob("document-*.bin"))
    lengths = [path.stat().st_size for path in paths]
    tokens = np.frombuffer(b"".join(path.read_bytes() for path in paths), "<u2").copy()
    sizes = pq.read_table(directory / "documents.parquet").column("n_tokens").to_numpy()
    tokens[sizes[: document + 1].sum() - 1] = value
    content = tokens.tobytes()
    for path, length in zip(paths, lengths, strict=True):
        path.write_bytes(content[:length])
        content = content[length:]


def change_provenance(directory: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    path = directory / "documents.parquet"
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(type(table).from_pydict(columns, schema=table.schema), path)


def swap(name: str, one: int, two: int) -> Callable[[dict[str, list[Any]]], None]:
    def change(columns: dict[str, list[Any]]) -> None:
        columns[name][one], columns[name][two] = columns[name][two], columns[name][one]

    return change


def drop_last(columns: dict[str, list[Any]]) -> None:
    for values in columns.values():
        values.pop()


def rename_last_shard(columns: dict[str, list[Any]]) -> None:
    columns["shard"] = ["9.jsonl" if shard == "2.jsonl" else shard for shard in columns["shard"]]


def edit_tokenizer(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads((directory / "tokenizer.json").read_text())
    change(value)
    (directory / "tokenizer.json").write_text(json.dumps(value))


@pytest.mark.parametrize("block", [1 << 20, 7])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: change_token(d, 5, 9), r"document 5 does not end in EOD \(0\)"),
        (lambda d: change_token(d, 0, 9), r"document 0 does not end in EOD \(0\)"),
        (lambda d: edit_manifest(d, "counts", max_id=8000), "as largest id, but manifest.json says 8000"),
        (lambda d: edit_manifest(d, "counts", tokens=7), "tokens, but manifest.json says 7"),
        (lambda d: edit_manifest(d, "counts", documents=7), "documents, but manifest.json says 7"),
        (lambda d: edit_manifest(d, "parameters", dtype="int32"), "uint16 as dtype"),
        (lambda d: edit_manifest(d, "parameters", eod_id=3), "does not end in EOD"),
        (lambda d: edit_manifest(d, "parameters", eod_token="a"), r"EOD id [1-9]\d*, but "),
        (lambda d: edit_manifest(d, "parameters", vocab_size=9), "vocabulary 8192, but manifest.json says 9"),
        (lambda d: edit_tokenizer(d, lambda value: value.pop("version")), "SHA-256 .*, but manifest.json"),
        (
            lambda d: change_provenance(d, drop_last),
            r"documents\.parquet: \d+ rows, but the token dataset has",
        ),
        (lambda d: change_provenance(d, swap("n_tokens", 3, 20)), "document 3 has .* tokens there"),
        (lambda d: change_provenance(d, swap("row", 3, 4)), "the rows of 0.jsonl do not rise"),
        (lambda d: change_provenance(d, swap("shard", 0, 30)), r"1\.jsonl begins again at document"),
        (lambda d: change_provenance(d, rename_last_shard), r"of 9\.jsonl, but manifest.json says \d+ of 2"),
    ],
)
def test_what_no_hash_shows(
    change: Callable[[Path], None], message: str, block: int, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are as listed, but contradict one another."""
    monkeypatch.setattr(verify_tokens, "_BLOCK_TOKENS", block)
    monkeypatch.setattr(verify_tokens, "_BLOCK_SIZES", block)
    list_again(made / "tokens")
    assert len(verify([made / "tokens"])) == 5
    change(made / "tokens")
    list_again(made / "tokens")
    with pytest.raises(DataError, match=message):
        verify([made / "tokens"])


def test_index_that_contradicts_the_data(made: Path) -> None:
    sizes = pq.read_table(made / "tokens/documents.parquet").column("n_tokens").to_numpy().copy()
    sizes[2] += 1
    sizes[3] -= 1
    write_index(made / "tokens/document.idx", "<u2", sizes)
    list_again(made / "tokens")
    with pytest.raises(DataError, match="document 2 does not end in EOD"):
        verify([made / "tokens"])
    sizes[:2] = sizes[0] + sizes[1], 0
    write_index(made / "tokens/document.idx", "<u2", sizes)
    list_again(made / "tokens")
    with pytest.raises(DataError, match="document 1 has no tokens, not even EOD"):
        verify([made / "tokens"])


def test_ids_below_zero(tmp_path: Path) -> None:
    np.array([3, -1, 2], "<i4").tofile(tmp_path / "document.bin")
    write_index(tmp_path / "document.idx", "<i4", [3])
    with pytest.raises(DataError, match="token 1 is -1"):
        verify([tmp_path])


@pytest.mark.parametrize("name", ["neox/small_u16", "neox/small_i32", "megatron_core"])
def test_datasets_of_other_tools(name: str) -> None:
    checks = [finding.check for finding in verify([GOLDEN / name])]
    assert checks[0] == "tokens"


def test_more_tokens_than_32_bits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse dataset: the last document begins behind 2³¹ tokens and 2³² bytes."""
    size = 2**31 - 1
    write_index(tmp_path / "document.idx", "<u2", [size, size, 4])
    with (tmp_path / "document.bin").open("wb") as file:
        file.truncate(2 * 2 * size)
        file.seek(2 * 2 * size)
        file.write(np.array([5, 6, 7, 0], "<u2").tobytes())
    dataset = TokenDataset.open(tmp_path)
    assert dataset.n_tokens == 2 * size + 4
    assert dataset.sequence(2).tolist() == [5, 6, 7, 0]
    # Of the blocks that a scan reads, the first of each document and the last of all.
    read = verify_tokens._tokens
    blocks = []

    def some(dataset: TokenDataset, start: int, stop: int) -> Any:
        blocks.append(start)
        if stop < 2 * size:
            return np.zeros(stop - start, "<u2")
        return read(dataset, start, stop)

    monkeypatch.setattr(verify_tokens, "_tokens", some)
    assert verify_tokens._scan(dataset, 0, lambda label, done, total: None) == 7
    assert max(blocks) > 2**31
