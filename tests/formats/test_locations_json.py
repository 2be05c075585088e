"""Where shards were when a directory was made of them: a hint that is read, moved and doubted."""

from pathlib import Path

import pytest

from pile_tools.corpus.shards import list_shards
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.locations_json import (
    LOCATIONS_NAME,
    ShardFinder,
    move_locations,
    parse_locations,
    write_locations,
)
from pile_tools.storage.manifest import file_entry
from pile_tools.storage.store import LocalStore


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / "corpus" / name).write_text('{"text": "' + name + '"}\n')
    (tmp_path / "tokens").mkdir()
    write_locations(list_shards([tmp_path / "corpus"]), tmp_path / "tokens")
    return tmp_path


def test_locations_are_relative_and_move_with_the_directory(made: Path) -> None:
    content = (made / "tokens" / LOCATIONS_NAME).read_bytes()
    assert parse_locations(content, "x") == {name: f"../corpus/{name}" for name in ("a.jsonl", "b.jsonl")}
    (made / "far" / "copy").mkdir(parents=True)
    move_locations(made / "tokens", made / "far" / "copy")
    entry = file_entry(made / "corpus/b.jsonl")
    for directory in (made / "tokens", made / "far" / "copy"):
        shard = ShardFinder(LocalStore(directory)).find(entry)
        assert shard.path.samefile(made / "corpus/b.jsonl")
    move_locations(made / "far", made / "corpus")
    assert not (made / "corpus" / LOCATIONS_NAME).exists()


def test_shards_that_are_no_longer_there(made: Path) -> None:
    entry = file_entry(made / "corpus/a.jsonl")
    (made / "corpus").rename(made / "moved")
    with pytest.raises(PileToolsError, match=r"a\.jsonl: no longer at .*--corpus"):
        ShardFinder(LocalStore(made / "tokens")).find(entry)
    assert ShardFinder(LocalStore(made / "tokens"), [made / "moved"]).find(entry).name == "a.jsonl"
    with pytest.raises(PileToolsError, match="not among the 1 shards"):
        ShardFinder(LocalStore(made / "tokens"), [made / "moved/b.jsonl"]).find(entry)
    (made / "moved/a.jsonl").write_text("longer than it was before\n" * 9)
    with pytest.raises(DataError, match="name the right corpus"):
        ShardFinder(LocalStore(made / "tokens"), [made / "moved"]).find(entry)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 3}', b'{"a": "x\\u0000"}', b'{"../a": "x"}'])
def test_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^name: "):
        parse_locations(content, "name")
