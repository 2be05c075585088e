"""The search for the shards of one input: a file, a directory, a pattern, the output of a stage."""

from pathlib import Path

import pytest

from pile_tools.corpus.search import Search
from pile_tools.errors import (
    DataError,
    EmptyError,
    MissingFileError,
    OccupiedError,
    ParameterError,
    UnfinishedError,
)
from pile_tools.storage.manifest import UNFINISHED_NAME, Manifest, file_entry

LINE = b'{"text": "a"}\n'


def touch(path: Path, content: bytes = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def finish(directory: Path, stage: str = "dedup") -> Manifest:
    """Make the output of a stage with one shard in a folder and one table."""
    shard, table = touch(directory / "sub/x.jsonl"), touch(directory / "dedup.parquet", b"PAR1")
    entries = [file_entry(shard, "sub/x.jsonl", documents=1), file_entry(table)]
    manifest = Manifest(stage, {}, [], entries)
    manifest.write(directory)
    return manifest


def find(name: Path | str, leave_out: Path | None = None) -> list[tuple[str, Path | None]]:
    return [(member.shard.name, member.base) for member in Search(leave_out, "text").find(name)]


def test_a_file_a_directory_and_a_pattern(tmp_path: Path) -> None:
    for name in ("a.jsonl", "sub/b.jsonl", "sub/c.txt"):
        touch(tmp_path / "in" / name)
    (tmp_path / "in/sub/c.txt").rename(tmp_path / "c.txt")
    assert find(tmp_path / "in/sub/b.jsonl") == [("b.jsonl", None)]
    assert find(tmp_path / "c.txt") == [("c.txt", None)]
    assert sorted(find(tmp_path / "in")) == [("a.jsonl", tmp_path / "in"), ("sub/b.jsonl", tmp_path / "in")]
    assert find(str(tmp_path / "in/*.jsonl")) == [("a.jsonl", None)]
    assert sorted(find(str(tmp_path / "in/*"))) == [("a.jsonl", None), ("b.jsonl", tmp_path / "in/sub")]


def test_the_output_of_a_stage_is_known_by_its_manifest(tmp_path: Path) -> None:
    out = tmp_path / "in/out"
    manifest = finish(out)
    for name in (out, out / "sub", out / "sub/x.jsonl", str(out / "sub/*")):
        (member,) = Search(None, "text").find(name)
        assert (member.shard.name, member.base) == ("sub/x.jsonl", out)
        assert (member.shard.parent, member.shard.sha256) == (manifest.identity, manifest.outputs[0].sha256)
    touch(tmp_path / "in/a.jsonl")
    members = {member.shard.name: member.shard for member in Search(None, "text").find(tmp_path / "in")}
    assert sorted(members) == ["a.jsonl", "out/sub/x.jsonl"]
    assert members["out/sub/x.jsonl"].parent_name == "sub/x.jsonl"
    assert members["a.jsonl"].parent is None


def test_outputs_that_are_not_as_their_manifest_says(tmp_path: Path) -> None:
    finish(tmp_path / "out")
    with pytest.raises(ParameterError, match=r"dedup\.parquet: a table that `pile-tools dedup` made"):
        find(tmp_path / "out/dedup.parquet")
    added = touch(tmp_path / "out/sub/y.jsonl")
    with pytest.raises(OccupiedError, match=r"y\.jsonl: named like a shard, but .* does not list it"):
        find(tmp_path / "out")
    added.unlink()
    shard = touch(tmp_path / "out/sub/x.jsonl", b"")
    with pytest.raises(DataError, match=r"x\.jsonl: 0 bytes, but manifest\.json says 14"):
        find(tmp_path / "out")
    shard.unlink()
    with pytest.raises(DataError, match=r"x\.jsonl: listed in manifest\.json but missing"):
        find(tmp_path / "out")
    finish(tmp_path / "tokens", "tokenize")
    with pytest.raises(ParameterError, match="the output of `pile-tools tokenize`, which is no corpus"):
        find(tmp_path / "tokens")
    (tmp_path / "half" / UNFINISHED_NAME).mkdir(parents=True)
    with pytest.raises(UnfinishedError, match="half: unfinished"):
        find(tmp_path / "half")


def test_inputs_that_stand_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file or directory, and no shard matches it"):
        find(str(tmp_path / "*.jsonl"))
    touch(tmp_path / "README.md")
    search = Search(None, "text")
    with pytest.raises(EmptyError, match=r"no shards in it.*passes over .*1 README files and the like"):
        search.find(tmp_path)
    assert search.passed_over == {"description": 1}


def test_the_directory_that_is_left_out(tmp_path: Path) -> None:
    for name in ("a.jsonl", "out/b.jsonl", "outer/c.jsonl"):
        touch(tmp_path / "in" / name)
    out = tmp_path / "in/out"
    expected = [("a.jsonl", tmp_path / "in"), ("outer/c.jsonl", tmp_path / "in")]
    assert sorted(find(tmp_path / "in", out)) == expected
    assert [name for name, _ in find(str(tmp_path / "in/*/*.jsonl"), out)] == ["c.jsonl"]
    assert find(out, out) == [("b.jsonl", out)]  # asked for by name
