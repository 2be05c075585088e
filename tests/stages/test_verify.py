"""`verify`: everything right passes, and whatever is changed is found and named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.formats.manifest import Manifest, file_entry
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages import verify_tokens
from pile_tools.stages.dedup import dedup
from pile_tools.stages.dedup_job import resolve_job
from pile_tools.stages.order import make_order
from pile_tools.stages.tokenize import tokenize
from pile_tools.stages.verify import CHECKS, Check, verify

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    """kept/ and tokens/ with an order; do not write into it."""
    path = tmp_path_factory.mktemp("whole")
    texts = [f"the words of document {i} are those of no other {i}" for i in range(60)] + [
        "",
        "twice " * 9,
    ] * 2
    (path / "in").mkdir()
    for number in range(3):
        lines = [json.dumps({"text": text}) + "\n" for text in texts[number::3]]
        (path / f"in/{number}.jsonl").write_text("".join(lines))
    dedup([path / "in"], path / "kept", resolve_job())
    tokenize([path / "kept"], path / "tokens", tokenizer=str(demo_corpus), shard_bytes=500)
    make_order(path / "tokens", seq_length=32, batch_size=2, steps=5)
    return path


@pytest.fixture
def made(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "made")
    return tmp_path / "made"


def list_again(directory: Path) -> None:
    """Let the manifest list the files as they are now: only what they hold is wrong then."""
    manifest = Manifest.read(directory)
    outputs = [file_entry(directory / entry.name, entry.name, entry.documents) for entry in manifest.outputs]
    replace(manifest, outputs=outputs).write(directory)
    (directory / "order.json").unlink(missing_ok=True)
    for path in directory.glob("*.npy"):
        path.unlink()


def test_all_is_right(whole: Path) -> None:
    findings = verify([whole / "kept", whole / "tokens"])
    assert [(finding.directory.name, finding.check) for finding in findings] == [
        ("kept", "files"),
        ("kept", "dedup"),
        *(("tokens", name) for name in ("files", "history", "tokens", "provenance", "tokenizer", "orders")),
    ]


def test_every_single_byte_counts(made: Path) -> None:
    listed = [entry.name for entry in Manifest.read(made / "tokens").outputs]
    assert len(listed) > 8
    for name in [*listed, *(path.name for path in (made / "tokens").glob("*.npy"))]:
        path = made / "tokens" / name
        content = path.read_bytes()
        for changed in (content[:-1], content + b"\0", content[:-1] + bytes([content[-1] ^ 1])):
            path.write_bytes(changed)
            with pytest.raises(DataError) as caught:
                verify([made / "kept", made / "tokens"])
            assert str(path) in str(caught.value)
        path.unlink()
        with pytest.raises(PileToolsError, match="missing") as caught_missing:
            verify([made / "tokens"])
        assert str(path) in str(caught_missing.value)
        path.write_bytes(content)
    verify([made / "tokens"])


def test_the_first_bad_file_is_named(made: Path) -> None:
    for name in ("document-00001-of-00003.bin", "document-00002-of-00003.bin", "tokenizer.json"):
        path = made / "tokens" / name
        assert path.exists(), sorted(path.parent.iterdir())
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"document-00001-of-00003\.bin: SHA-256"):
        verify([made / "tokens"])


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


def edit_manifest(directory: Path, part: str, **changes: Any) -> None:
    manifest = Manifest.read(directory)
    replace(manifest, **{part: {**getattr(manifest, part), **changes}}).write(directory)


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
@pytest.mark.slow
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


def test_an_order_of_another_dataset(made: Path, tmp_path: Path, demo_corpus: Path) -> None:
    tokenize([made / "in/0.jsonl"], tmp_path / "other", tokenizer=str(demo_corpus))
    for path in [*(made / "tokens").glob("*.npy"), made / "tokens/order.json"]:
        shutil.copy(path, tmp_path / "other")
    with pytest.raises(DataError, match="an order of another token dataset"):
        verify([tmp_path / "other"])
    # Alone in a directory it is still checked for being the files that were written.
    (tmp_path / "alone").mkdir()
    for path in [*(made / "tokens").glob("*.npy"), made / "tokens/order.json"]:
        shutil.copy(path, tmp_path / "alone")
    assert [finding.check for finding in verify([tmp_path / "alone"])] == ["orders"]


def test_maps_that_are_no_permutation(made: Path) -> None:
    path = next((made / "tokens").glob("*_shuffle_idx.npy"))
    order = json.loads((made / "tokens/order.json").read_text())
    shuffle = np.load(path)
    shuffle[0] = shuffle[1]
    np.save(path, shuffle)
    with pytest.raises(DataError, match=r"shuffle_idx\.npy: SHA-256"):
        verify([made / "tokens"])
    entry = file_entry(path)
    order["files"][2] = entry.to_json()
    text = json.dumps(order, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (made / "tokens/order.json").write_text(text)
    with pytest.raises(DataError, match=r"shuffle_idx"):
        verify([made / "tokens"])


def test_removed_rows(made: Path) -> None:
    edit_manifest(made / "kept", "counts", removed=5)
    with pytest.raises(DataError, match=r"dedup\.parquet: 1 rows, but 5 documents were removed"):
        verify([made / "kept"])


def test_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such directory"):
        verify([tmp_path / "none"])
    with pytest.raises(PileToolsError, match="nothing to verify"):
        verify([tmp_path])
    (tmp_path / ".unfinished").mkdir()
    with pytest.raises(UnfinishedError, match="unfinished"):
        verify([tmp_path])
    usual = Check("usual", lambda directory: True, lambda directory, progress: "whole")
    early = Check("early", lambda directory: True, lambda directory, progress: "so far", for_unfinished=True)
    assert [finding.check for finding in verify([tmp_path], checks=[usual, early])] == ["early"]
    with pytest.raises(UnfinishedError, match="unfinished"):
        verify([tmp_path], checks=[usual])


def test_a_manifest_of_another_tool_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "some web app"}')
    with pytest.raises(PileToolsError, match="nothing to verify"):
        verify([tmp_path])


def test_more_checks_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "x.toy").write_text("toy")
    toy = Check("toys", lambda d: (d / "x.toy").exists(), lambda d, progress: "1 toy")
    assert [finding.message for finding in verify([tmp_path], checks=[*CHECKS, toy])] == ["1 toy"]


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
