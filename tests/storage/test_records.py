"""JSON records, read strictly against a declared shape: each kind of value, against json."""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError
from pile_tools.storage import records
from pile_tools.storage.manifest import canonical_json
from pile_tools.storage.records import Kind, RecordKind, Section

ABSENT = records.fields({"a": records.integer()}, absent={"b": records.text()})
SCALARS = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def read(value: Any, kind: Kind = records.anything) -> Any:
    return records.read_json(json.dumps(value).encode(), "x.json", kind, "a record", "make it again")


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (records.integer(), 0, 0),
        (records.integer(-1, 5), -1, -1),
        (records.text(), "", ""),
        (records.location(), "../a", "../a"),
        (records.file_name(), "a/b.bin", "a/b.bin"),
        (records.boolean(), True, True),
        (records.one_of(["a", "b"]), "b", "b"),
        (records.optional(records.integer()), None, None),
        (records.items(records.integer()), [1, 2], (1, 2)),
        (records.items(records.integer(), make=list), [1, 2], [1, 2]),
        (records.pair(records.text(), records.integer()), ["a", 1], ("a", 1)),
        (records.mapping(records.text(), records.integer()), {"a": 1}, {"a": 1}),
        (ABSENT, {"a": 1}, {"a": 1}),
        (ABSENT, {"b": "x", "a": 1}, {"a": 1, "b": "x"}),
        (records.fields({"a": records.integer()}, others=True), {"a": 1, "c": 2}, {"a": 1}),
        (records.section({"a": records.integer()}), {"a": 1, "c": 2}, {"a": 1, "c": 2}),
    ],
)
def test_values_of_a_kind_are_read(kind: Kind, value: Any, result: Any) -> None:
    assert read(value, kind) == result


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (records.integer(), True, "True, not an integer of 0 or more"),
        (records.integer(), 1.0, "1.0, not an integer of 0 or more"),
        (records.integer(1, 5), 6, "6, not an integer from 1 to 5"),
        (records.integer(), 1 << 63, f"{1 << 63}, not an integer of 0 or more"),
        (records.text(), 1, "1, not a text"),
        (records.location(), "", "'', not a path or URL"),
        (records.location(), "a\0", "'a\\x00', not a path or URL"),
        (records.boolean(), 1, "1, not true or false"),
        (records.one_of(["a", "b"]), "c", "'c', not one of a, b"),
        (records.one_of(["a", "b"]), [], "[], not one of a, b"),
        (records.items(records.text(), 1), [], "[], not a list of 1 or more values"),
        (records.items(records.text(), 1, 2), {}, "{}, not a list of 1 to 2 values"),
        (records.items(records.text()), ["a", 1], "[1] is 1, not a text"),
        (records.pair(records.text(), records.text()), ["a"], "['a'], not a list of 2 values"),
        (records.mapping(records.text(), records.text()), {"a": 1}, "a is 1, not a text"),
        (ABSENT, [], "[], not an object"),
        (ABSENT, {"b": "x"}, "{'b': 'x'}, not an object with a"),
        (ABSENT, {"a": 1, "c": 1}, "'c', not one of its fields (a, b)"),
        (records.section({"a": ABSENT}), {"a": {"a": "x"}}, "a.a is 'x', not an integer of 0 or more"),
        (
            records.fields({"a": records.items(ABSENT)}),
            {"a": [{"a": None}]},
            "a[0].a is None, not an integer",
        ),
    ],
)
def test_other_values_are_named_with_their_field(kind: Kind, value: Any, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read(value, kind)
    assert str(caught.value).startswith(f"x.json: not a record ({message}")
    assert str(caught.value).endswith("; make it again")


@pytest.mark.parametrize("name", ["", "/a", "../a", "a/../b", "a\n", 3, None])
def test_names_outside_of_the_directory_are_refused(name: Any) -> None:
    with pytest.raises(DataError, match=r"^x\.json: "):
        read({"files": [name]}, records.fields({"files": records.items(records.file_name())}))


@given(VALUES)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    assert read(value) == json.loads(json.dumps(value))


@pytest.mark.parametrize("content", [b"", b"{", b"NaN", b"\xff", b'{"a":1}x', b'"\\ud800"'])
def test_bytes_that_are_not_json(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^x\.json: not a record \(.*\); make it again$"):
        records.parse_json(content, "x.json", "a record", "make it again")


def test_depth_is_bounded() -> None:
    deep = b"[" * 63 + b"]" * 63
    assert records.parse_json(deep, "x.json", "a record", "make it again") == json.loads(deep)
    with pytest.raises(DataError, match="nested deeper than 64 levels"):
        records.parse_json(b"[" * 65 + b"]" * 65, "x.json", "a record", "make it again")


@dataclass(frozen=True)
class Range:
    start: int
    stop: int


RANGE = RecordKind(
    "a range",
    "make it again",
    {"range 1": records.fields({"start": records.integer(), "stop": records.integer()}, Range)},
    lambda value: canonical_json({"format": "range 1", **asdict(value)}),
    lambda value: value.start <= value.stop,
)


def test_a_record_is_written_in_one_way() -> None:
    content = RANGE.to_bytes(Range(1, 5))
    assert RANGE.read(content, "x.json") == Range(1, 5)
    spaced = content.replace(b":", b": ") if b": " not in content else content.replace(b": ", b":")
    for edited in (spaced, content + b" ", RANGE.to_bytes(Range(5, 1))):
        with pytest.raises(DataError, match=r"^x\.json: edited by hand or damaged; make it again$"):
            RANGE.read(edited, "x.json")
    for value in ({"format": "range 2"}, {"start": 1, "stop": 5}, [], {"format": ["range 1"]}):
        with pytest.raises(DataError, match=r"not a range that this version reads \('range 1'\)"):
            RANGE.read(json.dumps(value).encode(), "x.json")


def test_a_section_names_the_field_that_it_lacks() -> None:
    section = Section({"a": {"b": 1}}, "x.json", "make it again")
    for same in (section, copy.deepcopy(section)):
        assert same["a"]["b"] == 1
        with pytest.raises(DataError, match=r"^x\.json: holds no 'c'; make it again$"):
            same["a"]["c"]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    options = (ABSENT, "a record", "make it again")
    assert records.read_json_file(tmp_path / "x.json", *options) == {"a": 1}
    for path in (tmp_path / "y.json", tmp_path, tmp_path / "x.json" / "y"):
        with pytest.raises(DataError, match="missing; make it again"):
            records.read_json_file(path, *options)
