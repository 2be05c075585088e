"""Shards: their names, natural order, and the stage's output that an input is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.corpus.shard import Shard, natural_key, with_parents
from pile_tools.errors import ParameterError
from pile_tools.storage.manifest import FileEntry


def test_natural_order() -> None:
    names = ["s10.jsonl", "s2.jsonl", "a/10.jsonl", "a/9.jsonl", "s02.jsonl", "s.jsonl"]
    assert sorted(names, key=natural_key)[:3] == ["a/9.jsonl", "a/10.jsonl", "s2.jsonl"]
    assert sorted(names, key=natural_key)[-2:] == ["s10.jsonl", "s.jsonl"]


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_numbers_in_names_are_sorted_as_numbers(numbers: list[int]) -> None:
    names = sorted((f"part-{n}/of.jsonl" for n in numbers), key=natural_key)
    assert names == [f"part-{n}/of.jsonl" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=8)))
def test_any_names_have_an_order(names: list[str]) -> None:
    keys = sorted(map(natural_key, names))
    assert keys == sorted(map(natural_key, reversed(names)))


def test_the_format_is_that_of_the_name_and_not_of_the_path() -> None:
    shard = Shard(Path("blobs/0123"), "a/b.jsonl.xz")
    assert shard.format.suffix == ".jsonl.xz"
    assert shard.kept_name == "a/b.jsonl.zst"
    with pytest.raises(ParameterError, match=r"^a\.csv: not the name of a shard"):
        _ = Shard(Path("a.csv"), "a.csv").format


def test_a_shard_under_another_name_keeps_its_parent() -> None:
    shard = Shard(Path("kept/sub/a.jsonl"), "sub/a.jsonl", "id", "sha")
    assert shard.parent_directory == Path("kept")
    renamed = shard.called("x/y/z.jsonl")
    assert (renamed.name, renamed.parent_name, renamed.parent_directory) == (
        "x/y/z.jsonl",
        "sub/a.jsonl",
        Path("kept"),
    )
    assert renamed.called("sub/a.jsonl") == shard
    assert Shard(Path("a.jsonl"), "a.jsonl").called("b.jsonl").parent_name is None


def test_inputs_say_their_parents_where_names_alone_do_not() -> None:
    entries = [FileEntry("a.jsonl", 1, "sha"), FileEntry("b.jsonl", 1, "sha")]
    left = Shard(Path("l/a.jsonl"), "a.jsonl", "left")
    right = Shard(Path("r/b.jsonl"), "b.jsonl", "right")
    foreign = Shard(Path("b.jsonl"), "b.jsonl")
    assert with_parents(entries, [left, foreign]) == entries
    both = with_parents(entries, [left, right])
    assert [(entry.parent, entry.parent_name) for entry in both] == [
        ("left", "a.jsonl"),
        ("right", "b.jsonl"),
    ]
    renamed = with_parents(entries, [left.called("c.jsonl").called("b.jsonl")])
    assert [(entry.parent, entry.parent_name) for entry in renamed] == [(None, None), ("left", "a.jsonl")]
