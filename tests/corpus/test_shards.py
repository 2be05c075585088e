from pathlib import Path

import pytest

from pile_tools.corpus.shards import list_shards
from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.storage.manifest import UNFINISHED_NAME, Manifest, file_entry


def touch(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(*inputs: Path | str) -> list[str]:
    return [shard.name for shard in list_shards(inputs)]


def test_directory_is_searched_and_names_are_relative(tmp_path: Path) -> None:
    for name in (
        "10.jsonl.zst",
        "2.jsonl.gz",
        "sub/1.parquet",
        "1.jsonl",
        "README.txt",
        "x.json",
        ".h.jsonl",
        ".ipynb_checkpoints/1-checkpoint.jsonl",
        "sub/.cache/deep/1.parquet",
    ):
        touch(tmp_path / name)
    assert names(tmp_path) == ["1.jsonl", "2.jsonl.gz", "10.jsonl.zst", "sub/1.parquet"]


def test_only_names_below_the_given_directory_may_not_begin_with_a_dot(tmp_path: Path) -> None:
    touch(tmp_path / ".data" / "1.jsonl")
    assert names(tmp_path / ".data") == ["1.jsonl"]
    assert names(str(tmp_path / ".data" / "**" / "*.jsonl")) == ["1.jsonl"]


def test_files_and_patterns_in_natural_order_whatever_the_order_given(tmp_path: Path) -> None:
    for name in ("part-10.jsonl", "part-2.jsonl", "note.txt"):
        touch(tmp_path / name)
    assert names(tmp_path / "part-10.jsonl", tmp_path / "part-2.jsonl") == ["part-2.jsonl", "part-10.jsonl"]
    assert names(str(tmp_path / "part-*.jsonl")) == ["part-2.jsonl", "part-10.jsonl"]
    assert names(tmp_path / "note.txt") == ["note.txt"]


def test_inputs_that_stand_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such file"):
        list_shards([tmp_path / "absent.jsonl"])
    with pytest.raises(PileToolsError, match="no shard matches"):
        list_shards([str(tmp_path / "*.jsonl")])
    with pytest.raises(PileToolsError, match="no shards in it"):
        list_shards([tmp_path])
    with pytest.raises(PileToolsError, match="no input"):
        list_shards([])
    with pytest.raises(ParameterError, match="not a shard"):
        list_shards([touch(tmp_path / "a.csv")])


def test_one_name_for_two_files_is_refused(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "a/x.jsonl"), touch(tmp_path / "b/x.jsonl")
    with pytest.raises(ParameterError, match=r"both would be called x\.jsonl"):
        list_shards([one, two])
    assert names(tmp_path) == ["a/x.jsonl", "b/x.jsonl"]


def finished(directory: Path, stage: str = "dedup") -> Manifest:
    kept = touch(directory / "x.jsonl", b'{"text": "a"}\n')
    table = touch(directory / "dedup.parquet", b"PAR1")
    manifest = Manifest(stage, {}, [], [file_entry(kept, documents=1), file_entry(table)])
    manifest.write(directory)
    return manifest


def test_finished_stage_gives_its_shards_and_names_its_manifest(tmp_path: Path) -> None:
    manifest = finished(tmp_path)
    (shard,) = list_shards([tmp_path])
    assert (shard.name, shard.parent) == ("x.jsonl", manifest.identity)
    assert list_shards([tmp_path / "x.jsonl"])[0].parent == manifest.identity


def test_stage_directories_that_are_no_corpus(tmp_path: Path) -> None:
    finished(tmp_path / "tokens", "tokenize")
    with pytest.raises(ParameterError, match="pile-tools tokenize"):
        list_shards([tmp_path / "tokens"])
    finished(tmp_path / "cut")
    (tmp_path / "cut/x.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        list_shards([tmp_path / "cut"])
    (tmp_path / "cut/x.jsonl").unlink()
    with pytest.raises(DataError, match="missing"):
        list_shards([tmp_path / "cut"])
    touch(tmp_path / "half" / UNFINISHED_NAME / "lock")
    with pytest.raises(UnfinishedError):
        list_shards([tmp_path / "half"])


def test_tables_of_a_stage_are_no_shards(tmp_path: Path) -> None:
    finished(tmp_path)
    touch(tmp_path / "mine.parquet")
    assert names(str(tmp_path / "*")) == ["mine.parquet", "x.jsonl"]
    with pytest.raises(ParameterError, match="a table that `pile-tools dedup` made"):
        list_shards([tmp_path / "dedup.parquet"])


def test_name_that_is_no_text(tmp_path: Path) -> None:
    touch(tmp_path / "\udcff.jsonl")
    with pytest.raises(ParameterError, match="rename the file"):
        list_shards([tmp_path])


def test_a_manifest_of_others_is_not_ours(tmp_path: Path) -> None:
    touch(tmp_path / "manifest.json", b'{"name": "someone else\'s"}')
    touch(tmp_path / "x.jsonl")
    assert names(tmp_path) == ["x.jsonl"]


def test_a_directory_inside_the_input_is_left_out(tmp_path: Path) -> None:
    for name in (
        "corpus/a.jsonl",
        "corpus/sub/b.jsonl",
        "corpus/sub/out/c.jsonl",
        "corpus/sub/outer/d.jsonl",
    ):
        touch(tmp_path / name)
    corpus, out = tmp_path / "corpus", tmp_path / "corpus/sub/out"
    touch(out / UNFINISHED_NAME / "e.jsonl")

    def without(given: Path | str, leave_out: Path) -> list[str]:
        return [shard.name for shard in list_shards([given], leave_out=leave_out)]

    assert without(corpus, out) == ["a.jsonl", "sub/b.jsonl", "sub/outer/d.jsonl"]
    assert without(corpus, corpus / "nothing/../sub/out") == without(corpus, out)
    (tmp_path / "link").symlink_to(corpus)
    assert (
        without(tmp_path / "link", out) == without(corpus, tmp_path / "link/sub/out") == without(corpus, out)
    )
    assert without(f"{corpus}/**/*.jsonl", out) == ["a.jsonl", "b.jsonl", "d.jsonl"]
    # What is asked for by name is there, or refused as what it is.
    assert (
        without(corpus / "sub/outer", corpus)
        == without(corpus / "sub/outer", corpus / "sub/outer")
        == ["d.jsonl"]
    )
    with pytest.raises(UnfinishedError):
        without(out, out)
