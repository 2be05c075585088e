"""`tokenize` against the tokenizers library, read back with nothing but struct and numpy."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tokenizers
import xxhash

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.stages.tokenize import shard as tokenize_shard
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import UNFINISHED_NAME, Manifest
from tests.processes import started
from tests.stages.tokenize.conftest import byte_tokenizer, files_of, read_independently, record, write_shard

SHARED = Path(__file__).parents[3] / "../shared"
NEOX = SHARED / "tokenizer/20B_tokenizer.json"
needs_shared = pytest.mark.skipif(not NEOX.exists(), reason="needs the shared corpus and tokenizer")


@needs_shared
@pytest.mark.parametrize("shard_bytes", [None, 400_000])
@pytest.mark.slow
def test_real_corpus_and_tokenizer(shard_bytes: int | None, tmp_path: Path) -> None:
    tokenize([SHARED / "corpus"], tmp_path / "t", tokenizer=str(NEOX), shard_bytes=shard_bytes)
    import zstandard

    judge = tokenizers.Tokenizer.from_file(str(NEOX))
    expected, addresses = [], []
    for name in ("speeches-00.jsonl.zst", "speeches-01.jsonl.zst"):
        with zstandard.open(SHARED / "corpus" / name, "rb") as file:
            records = [json.loads(line) for line in file.read().splitlines()]
        for row, entry in enumerate(records):
            ids = judge.encode(entry["text"], add_special_tokens=False).ids
            expected.append([*ids, 0])
            digest = xxhash.xxh3_128_digest(entry["text"].encode())
            addresses.append((name, row, entry["meta"]["pile_set_name"], len(ids) + 1, digest))
    assert read_independently(tmp_path / "t") == expected
    table = pq.read_table(tmp_path / "t/documents.parquet")
    assert [tuple(row.values()) for row in table.to_pylist()] == addresses
    names = sorted(path.name for path in (tmp_path / "t").glob("document*.bin"))
    if shard_bytes is None:
        assert names == ["document.bin"]
    else:
        assert names == [f"document-{i:05d}-of-00002.bin" for i in range(3)]


def test_dataset_of_every_kind_of_document(small: Path, tmp_path: Path) -> None:
    texts = ["ab", "", "a<|endoftext|>b", "é\u0301 ", "x" * 5000, "\x00\x1f", "  "]
    write_shard(tmp_path / "in/a.jsonl", [record(text) for text in texts])
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    judge = tokenizers.Tokenizer.from_file(str(small))
    expected = [[*judge.encode(text).ids, 0] for text in texts]
    assert read_independently(tmp_path / "t") == expected
    assert expected[1] == [0]
    assert manifest.counts["empty_documents"] == 1
    assert manifest.counts["eod_inside"] == 1
    assert manifest.counts["max_id"] == max(max(ids) for ids in expected)


def test_without_eod_an_empty_document_has_no_tokens(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("a"), record(""), record("b")])
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), append_eod=False)
    sizes = [len(document) for document in read_independently(tmp_path / "t")]
    assert sizes == [1, 0, 1]
    assert (manifest.parameters["eod_token"], manifest.parameters["eod_id"]) == (None, None)
    assert manifest.counts["eod_inside"] == 0


def test_empty_documents_are_passed_over_on_request(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record(""), record("a", "A"), record(""), record("b", None)])
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), skip_empty=True)
    table = pq.read_table(tmp_path / "t/documents.parquet").to_pydict()
    assert (table["row"], table["source"]) == ([1, 3], ["A", None])
    assert [len(document) for document in read_independently(tmp_path / "t")] == [2, 2]
    assert (manifest.counts["documents"], manifest.counts["empty_documents"]) == (2, 2)
    assert table["text_xxh3_128"] == [xxhash.xxh3_128_digest(text) for text in (b"a", b"b")]


def test_order_is_the_corpus_whatever_the_workers(small: Path, tmp_path: Path) -> None:
    for number in range(12):
        texts = [f"{number}:{row} {'x' * (number * 37 % 50)}" for row in range(20)]
        write_shard(tmp_path / f"in/part-{number}.jsonl", [record(text) for text in texts])
    results = []
    for name, settings in {
        "one": {"workers": 1},
        "spawn": {"workers": 2},
        "fork": {"workers": 3, "start_method": "fork"},
    }.items():
        tokenize([tmp_path / "in"], tmp_path / name, tokenizer=str(small), shard_bytes=500, **settings)
        results.append(files_of(tmp_path / name))
    assert results[0] == results[1] == results[2]
    table = pq.read_table(tmp_path / "one/documents.parquet").to_pydict()
    assert table["shard"] == [f"part-{number}.jsonl" for number in range(12) for _ in range(20)]
    assert not (tmp_path / "one" / UNFINISHED_NAME).exists()


def test_the_tokenizer_is_copied_byte_for_byte_and_named(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    manifest = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    assert (tmp_path / "t/tokenizer.json").read_bytes() == small.read_bytes()
    assert manifest.parameters["tokenizer"]["name"] == "tokenizer.json"
    outputs = {entry.name: entry.sha256 for entry in manifest.outputs}
    assert outputs["tokenizer.json"] == manifest.parameters["tokenizer"]["sha256"]
    assert set(outputs) == {"document.idx", "document.bin", "documents.parquet", "tokenizer.json"}
    assert Manifest.read(tmp_path / "t") == manifest
    assert str(tmp_path) not in (tmp_path / "t/manifest.json").read_text()


def test_a_large_vocabulary_is_int32(tmp_path: Path) -> None:
    for size, dtype in ((65_499, "uint16"), (65_500, "int32")):
        path = byte_tokenizer(tmp_path / "large.json", **{f"t{i}": i for i in range(257, size)})
        write_shard(tmp_path / "in/a.jsonl", [record("ab")])
        out = tmp_path / str(size)
        manifest = tokenize([tmp_path / "in"], out, tokenizer=str(path))
        assert (manifest.parameters["vocab_size"], manifest.parameters["dtype"]) == (size, dtype)
        assert len(read_independently(out)[0]) == 3


def test_a_tokenizer_without_the_eod_token_is_refused(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    with pytest.raises(ParameterError, match=r"no token '</s>'.*--eod-token.*--no-append-eod"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), eod_token="</s>")
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("shard_bytes", [0, -2, 3])
def test_shards_that_would_cut_a_token(shard_bytes: int, small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    with pytest.raises(ParameterError, match="multiple of 2"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), shard_bytes=shard_bytes)


@pytest.mark.parametrize("records", [[], [b""], [b"", b"  "]])
def test_input_without_documents(records: list[bytes], small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", list(records))
    with pytest.raises(DataError, match="no documents"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    assert not (tmp_path / "t/manifest.json").exists()


def test_run_again_it_is_done_and_with_other_parameters_refused(small: Path, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "in/a.jsonl", [record("a")])
    first = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    before = (tmp_path / "t/document.bin").stat().st_mtime_ns
    assert tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small)) == first
    assert (tmp_path / "t/document.bin").stat().st_mtime_ns == before
    with pytest.raises(PileToolsError, match="different job: eod_id"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), append_eod=False)
    write_shard(shard, [record("b")])
    with pytest.raises(PileToolsError, match=r"different job: inputs: a\.jsonl"):
        tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))


def test_an_output_inside_the_corpus_is_no_part_of_it(small: Path, tmp_path: Path) -> None:
    def stop(label: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    first = tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), workers=1)
    out = tmp_path / "in/tokens"
    with pytest.raises(KeyboardInterrupt):
        tokenize([tmp_path / "in"], out, tokenizer=str(small), workers=1, progress=stop)
    for _ in range(2):
        assert tokenize([tmp_path / "in"], out, tokenizer=str(small), workers=1) == first


def test_a_directory_with_something_else_is_left_alone(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    with pytest.raises(PileToolsError, match="already holds something else"):
        tokenize([tmp_path / "in"], tmp_path / "in", tokenizer=str(small))
    with pytest.raises(PileToolsError, match="no such file"):
        tokenize([tmp_path / "none"], tmp_path / "t", tokenizer=str(small))


def started_command(arguments: list[str]) -> AbstractContextManager["subprocess.Popen[bytes]"]:
    code = "import sys; from pile_tools_cli.main import run; sys.exit(run(sys.argv[1:]))"
    return started(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(path: Path, pattern: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not list(path.glob(pattern)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.slow
@pytest.mark.serial
def test_killed_and_restarted_it_is_byte_identical(kind: signal.Signals, small: Path, tmp_path: Path) -> None:
    for number in range(8):
        write_shard(tmp_path / f"in/{number}.jsonl", [record("some words " * 3000)] * 20)
    tokenize([tmp_path / "in"], tmp_path / "whole", tokenizer=str(small), shard_bytes=10_000_000)
    out = tmp_path / "t"
    arguments = ["tokenize", str(tmp_path / "in"), "-o", str(out), "--tokenizer", str(small)]
    arguments += ["--shard-bytes", "10e6", "--workers", "2"]
    with started_command(arguments) as process:
        wait_for(out, f"{UNFINISHED_NAME}/part-*.json", process)
        process.send_signal(kind)
        assert process.wait() == (-signal.SIGKILL if kind == signal.SIGKILL else 130)
    assert not (out / "manifest.json").exists()
    assert list(out.glob(f"{UNFINISHED_NAME}/part-*.json"))
    with pytest.raises(PileToolsError, match="half-finished by a different job"):
        tokenize([tmp_path / "in"], out, tokenizer=str(small), shard_bytes=2)
    tokenize([tmp_path / "in"], out, tokenizer=str(small), shard_bytes=10_000_000)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_two_writers(small: Path, tmp_path: Path) -> None:
    for number in range(4):
        write_shard(tmp_path / f"in/{number}.jsonl", [record("some words " * 3000)] * 40)
    arguments = ["tokenize", str(tmp_path / "in"), "-o", str(tmp_path / "t"), "--tokenizer", str(small)]
    with started_command(arguments) as process:
        wait_for(tmp_path / "t", f"{UNFINISHED_NAME}/job.json", process)
        with pytest.raises(PileToolsError, match="another run is at work"):
            tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
        assert process.wait() == 0


def test_a_full_disk_can_be_resumed(small: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "in/a.jsonl", [record("some words " * 3000)] * 20)
    code = (
        "import resource, signal, sys; from pile_tools_cli.main import run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    arguments = ["tokenize", str(tmp_path / "in"), "-o", str(tmp_path / "t"), "--tokenizer", str(small)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "t").glob("document*"))
    assert not list((tmp_path / "t").rglob("*.partial"))
    tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    tokenize([tmp_path / "in"], tmp_path / "u", tokenizer=str(small))
    assert files_of(tmp_path / "t") == files_of(tmp_path / "u")


def test_no_space_left_is_unfinished(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*arguments: Any, **settings: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "part-000000.bin")

    write_shard(tmp_path / "in/a.jsonl", [record("a")])
    with monkeypatch.context() as patch:
        patch.setattr(tokenize_shard, "provenance_table", full)
        with pytest.raises(UnfinishedError, match="no space left on the disk"):
            tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small), workers=1)
    tokenize([tmp_path / "in"], tmp_path / "t", tokenizer=str(small))
    assert read_independently(tmp_path / "t")
