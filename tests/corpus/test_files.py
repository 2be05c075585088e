"""Files of a corpus: names, patterns against the module glob, directories, what cannot be read."""

import glob
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.corpus.files import (
    PassedOver,
    check_is_file,
    check_is_shard,
    describe_passed_over,
    expand_pattern,
    is_shard,
    kind_passed_over,
    list_directory,
    refuse_name,
)
from pile_tools.errors import DataError, FileAccessError, ParameterError

LINE = b'{"text": "a"}\n'


def touch(*paths: Path, content: bytes = b"") -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("description", ["README", "readme.md", "LICENSE.txt", "SHA256SUMS", "_SUCCESS", "a.jsonl.sha256"]),
        ("json", ["dataset_infos.json", "x.JSON"]),
        (None, ["a.jsonl", "readme.jsonl", "my_readme.txt", "a.csv", ""]),
    ],
)
def test_names_that_are_passed_over(kind: str | None, names: list[str]) -> None:
    assert [kind_passed_over(name) for name in names] == [kind] * len(names)


def test_passed_over_files_are_counted_in_words() -> None:
    counts = {"json": 1200, "hidden": 2}
    assert describe_passed_over(counts) == "2 hidden files or folders, 1,200 .json files"
    assert describe_passed_over({}) == ""


def test_shards_by_name_and_json_by_its_first_lines(tmp_path: Path) -> None:
    touch(tmp_path / "a.jsonl", tmp_path / "a.txt", tmp_path / "a.csv")
    touch(tmp_path / "lines.json", content=LINE)
    touch(tmp_path / "value.json", content=b'{"n": 1}')
    touch(tmp_path / "array.json", content=b'[{"text": "a"}]')
    names = sorted(path.name for path in tmp_path.iterdir() if is_shard(path, "text"))
    assert names == ["a.jsonl", "a.txt", "lines.json"]
    assert not is_shard(tmp_path / "a.txt", "text", in_directory=True)
    for name in names:
        check_is_shard(tmp_path / name, "text")
    with pytest.raises(ParameterError, match=r"a\.csv: not a shard; its name must end in \.jsonl"):
        check_is_shard(tmp_path / "a.csv", "text")
    with pytest.raises(DataError, match=r"value\.json: one JSON object without a text .*--text-field"):
        check_is_shard(tmp_path / "value.json", "text")
    with pytest.raises(DataError, match=r"array\.json: one JSON array.*jq"):
        check_is_shard(tmp_path / "array.json", "text")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.txt", "name text files themselves"),
        ("a.jl", r"rename it to a\.jsonl$"),
        ("a.jsonl.zstd", r"rename it to a\.jsonl\.zst$"),
        ("a.tar", r"unpack it, and compress its lines as \.jsonl\.zst"),
        ("a.csv", "move it away, or name the shards by a pattern"),
    ],
)
def test_the_remedy_of_a_name(name: str, remedy: str) -> None:
    with pytest.raises(ParameterError, match=rf"^in/{name}: not a shard.*{remedy}"):
        refuse_name(Path("in") / name)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(FileAccessError, match=r"pipe\.jsonl: a named pipe"):
        check_is_file(tmp_path / "pipe.jsonl")
    with pytest.raises(FileAccessError, match=r"link\.jsonl: a link to .*gone, which cannot be read"):
        check_is_file(tmp_path / "link.jsonl")
    with pytest.raises(FileNotFoundError):
        check_is_file(tmp_path / "absent.jsonl")
    with pytest.raises(FileAccessError, match=r"link\.jsonl: a link to"):
        list(list_directory(tmp_path, Counter(), lambda folder: False, "text"))


def listed(directory: Path, stop: str = "") -> tuple[set[str], PassedOver]:
    passed_over: PassedOver = Counter()
    paths = list(list_directory(directory, passed_over, lambda folder: folder.name == stop, "text"))
    assert len(set(paths)) == len(paths)
    return {path.relative_to(directory).as_posix() for path in paths}, passed_over


def test_a_directory_is_searched_and_nothing_is_left_out_without_a_count(tmp_path: Path) -> None:
    shards = {"a.jsonl", "b/c.parquet", "b/d/e.json.gz", "stop/f.arrow"}
    touch(*(tmp_path / name for name in shards), tmp_path / "README.md", tmp_path / ".git/a.jsonl")
    touch(tmp_path / "b/.hidden.jsonl")
    touch(tmp_path / "infos.json", content=b"{}")
    (tmp_path / "again").symlink_to(tmp_path / "b")
    assert listed(tmp_path) == (shards, Counter(hidden=2, description=1, json=1, link=1))
    assert listed(tmp_path, "stop")[0] == shards - {"stop/f.arrow"}
    touch(tmp_path / "b/notes.txt")
    with pytest.raises(ParameterError, match=r"b/notes\.txt: not a shard"):
        listed(tmp_path)


def test_a_folder_that_only_links_lead_to_is_searched_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/a.jsonl", tmp_path / "in/b.jsonl")
    for name in ("x", "y"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "in")
    assert listed(tmp_path / "in") == ({"b.jsonl", "x/a.jsonl"}, Counter(link=2))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tree")
    names = ("a", "ab", "b/a", "b/.a", "b/ab/a", "b/ab/b", ".a/a", "[a]")
    touch(*(directory / name for name in names))
    return directory


PARTS = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "**", "[ab]", ".*", ".a", "[[]a]", "absent"])


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(PARTS, min_size=1, max_size=4))
def test_patterns_match_what_a_shell_matches(parts: list[str], tree: Path) -> None:
    matches = list(expand_pattern("/".join((str(tree), *parts))))
    assert len(set(matches)) == len(matches)
    # Python's "**" at the end also matches what it begins at, which is no file in it.
    inside = [*parts, "*"] if parts[-1] == "**" else parts
    expected = glob.glob("/".join((str(tree), *inside)), recursive=True)
    assert set(matches) == {Path(path) for path in expected}
