"""`merge` and `split` against what `tokenize` writes, and against the rules by which others read."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools.checks.checks import verify
from pile_tools.checks.digests import verify_digests
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.trace import SourceTexts
from pile_tools.stages import recut as module
from pile_tools.stages.digest import digest
from pile_tools.stages.order.order import make_order
from pile_tools.stages.recut import recut
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.storage.manifest import Manifest
from pile_tools.viewer import BatchViewer

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    """one/ unsharded, many/ in shards, both with an order. Do not write into them."""
    path = tmp_path_factory.mktemp("recut")
    texts = [f"some words of number {number} " * (number % 9) for number in range(80)]
    (path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name, shard_bytes in (("one", None), ("many", 600)):
        tokenize([path / "in.jsonl"], path / name, tokenizer=str(demo_corpus), shard_bytes=shard_bytes)
        make_order(path / name, seq_length=32, batch_size=2, steps=9)
    return path


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_what_comes_out_is_what_tokenize_writes(whole: Path) -> None:
    recut(whole / "many", whole / "merged", shard_bytes=None)
    recut(whole / "one", whole / "cut", shard_bytes=600)
    recut(whole / "many", whole / "again", shard_bytes=1000)
    recut(whole / "again", whole / "back", shard_bytes=600)
    assert content(whole / "merged") == content(whole / "one")
    assert content(whole / "cut") == content(whole / "many") == content(whole / "back")
    assert len(list((whole / "again").glob("*.bin"))) < len(list((whole / "many").glob("*.bin")))
    assert len(verify([whole / "merged", whole / "again"])) == 10


def test_orders_and_sources_go_along(whole: Path, tmp_path: Path) -> None:
    recut(whole / "many", tmp_path / "elsewhere/merged", shard_bytes=None)
    one, two = BatchViewer.open(whole / "many"), BatchViewer.open(tmp_path / "elsewhere/merged")
    assert one.steps == two.steps
    for step in range(one.steps):
        assert np.array_equal(one.batch(step), two.batch(step))
    assert (
        SourceTexts(TokenDataset.open(tmp_path / "elsewhere/merged")).text(3) == "some words of number 3 " * 3
    )


def test_run_again_it_is_done(whole: Path, tmp_path: Path) -> None:
    first = recut(whole / "many", tmp_path / "out", shard_bytes=None)
    before = (tmp_path / "out/document.bin").stat().st_mtime_ns
    assert recut(whole / "many", tmp_path / "out", shard_bytes=None) == first
    assert (tmp_path / "out/document.bin").stat().st_mtime_ns == before
    with pytest.raises(PileToolsError, match="different job"):
        recut(whole / "many", tmp_path / "out", shard_bytes=800)
    with pytest.raises(PileToolsError, match="different job"):
        recut(whole / "many", whole / "many", shard_bytes=800)


def test_stopped_and_started_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def stop(*arguments: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(module, "_copy_orders", stop)
        with pytest.raises(KeyboardInterrupt):
            recut(whole / "one", tmp_path / "out", shard_bytes=600)
    assert not (tmp_path / "out/manifest.json").exists()
    with pytest.raises(PileToolsError, match="half-finished by a different job"):
        recut(whole / "one", tmp_path / "out", shard_bytes=800)
    recut(whole / "one", tmp_path / "out", shard_bytes=600)
    assert Manifest.read(tmp_path / "out") == Manifest.read(whole / "many")


@pytest.mark.parametrize("name", ["document-00001-of-00006.bin", "documents.parquet", "tokenizer.json"])
def test_a_damaged_source_is_not_blessed(name: str, whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "many", tmp_path / "bad")
    path = tmp_path / "bad" / name
    assert path.exists(), sorted(tmp_path.glob("bad/*.bin"))
    damaged = path.read_bytes()
    path.write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    with pytest.raises(DataError, match=name):
        recut(tmp_path / "bad", tmp_path / "out", shard_bytes=None)
    assert not (tmp_path / "out/manifest.json").exists()


def read_as_megatron_does(prefix: Path) -> list[list[int]]:
    """GPT-NeoX and Megatron-Core: one .idx, one .bin, a slice of the buffer for each sequence."""
    index, data = Path(f"{prefix}.idx").read_bytes(), Path(f"{prefix}.bin").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    assert struct.unpack("<Q", index[9:17]) == (1,)
    dtype = {4: np.int32, 8: np.uint16}[index[17]]
    count, boundaries = struct.unpack("<QQ", index[18:34])
    sizes = np.frombuffer(index, np.int32, count, 34)
    pointers = np.frombuffer(index, np.int64, count, 34 + sizes.nbytes)
    documents = np.frombuffer(index, np.int64, boundaries, 34 + sizes.nbytes + pointers.nbytes)
    assert documents[-1] == count
    return [
        np.frombuffer(data, dtype, size, pointer).tolist()
        for size, pointer in zip(sizes, pointers, strict=True)
    ]


@pytest.mark.parametrize("name", ["neox/small_u16", "neox/small_i32", "megatron_core"])
def test_datasets_of_other_tools(name: str, tmp_path: Path) -> None:
    manifest = recut(GOLDEN / name, tmp_path / "cut", shard_bytes=10_000)
    assert (manifest.stage, manifest.inputs[0].name) == ("split", "document.idx")
    assert len(list((tmp_path / "cut").glob("document-*.bin"))) > 1
    assert len(verify([tmp_path / "cut"])) >= 2
    assert recut(tmp_path / "cut/document", tmp_path / "back", shard_bytes=None).stage == "merge"
    for suffix in ("idx", "bin"):
        name_ = f"document.{suffix}"
        assert (tmp_path / "back" / name_).read_bytes() == (GOLDEN / name / name_).read_bytes()
    assert read_as_megatron_does(tmp_path / "back/document") == read_as_megatron_does(
        GOLDEN / name / "document"
    )
    maps = {path.name: path.read_bytes() for path in (GOLDEN / name).glob("*.npy")}
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").glob("*.npy")} == maps
    # Asked again, it is done.
    assert recut(GOLDEN / name, tmp_path / "cut", shard_bytes=10_000) == manifest


def test_merged_is_read_as_megatron_does(whole: Path, tmp_path: Path) -> None:
    recut(whole / "many", tmp_path / "out", shard_bytes=None)
    assert read_as_megatron_does(tmp_path / "out/document") == read_as_megatron_does(whole / "one/document")


@pytest.mark.parametrize("shard_bytes", [0, -4, 7])
def test_shards_that_would_cut_a_token(shard_bytes: int, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="multiple of 2"):
        recut(whole / "one", tmp_path / "out", shard_bytes=shard_bytes)


def test_commands(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cut"
    assert run(["split", str(whole / "one"), "-o", str(out), "--shard-bytes", "1e3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{out}/document-00000-of-{len(printed) - 1:05d}.bin: 1,000 bytes"
    assert run(["merge", str(out), "-o", str(tmp_path / "back"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [entry["name"] for entry in files] == ["document.bin"]
    assert run(["merge", str(tmp_path / "none"), "-o", str(tmp_path / "x")]) == 1
    assert run(["split", str(out), "-o", str(tmp_path / "x")]) == 2


def test_digests_go_along(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "many", tmp_path / "many")
    summary = digest(BatchViewer.open(tmp_path / "many"))
    recut(tmp_path / "many", tmp_path / "merged", shard_bytes=None)
    viewer = BatchViewer.open(tmp_path / "merged")
    assert digest(viewer).existed
    assert verify_digests(viewer.stream).endswith(f"root {summary.record.root[:12]}…")
