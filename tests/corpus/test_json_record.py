"""JSON records: the text at a key or a path, and files that are one JSON value."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.corpus.json_record import (
    BadRecordError,
    begins_array,
    join_strings,
    loads_repaired,
    reach,
    single_value,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def paths(value: object) -> list[tuple[tuple[str, ...], object]]:
    """Every path of keys and indexes in a value with what is at its end."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = [(str(index), element) for index, element in enumerate(value)]
    return [((), value)] + [((key, *rest), end) for key, inner in items for rest, end in paths(inner)]


@given(VALUES)
def test_every_path_leads_to_its_value(value: object) -> None:
    for keys, end in paths(value):
        assert reach({"record": value}, "no such key", ("record", *keys)) is end


def test_a_key_with_a_dot_goes_before_a_path() -> None:
    record = {"a.b": "key", "a": {"b": "path"}}
    assert reach(record, "a.b", ("a", "b")) == "key"
    assert reach({"a": {"b": "path"}}, "a.b", ("a", "b")) == "path"
    for keys in (("a", "c"), ("a", "b", "c"), ("a", "0"), ("0",)):
        assert reach(record, ".".join(keys), keys) is None
    for key in ("2", "-1", "²", "x", ""):
        assert reach(["one", "two"], key, (key,)) is None


@given(VALUES)
def test_json_as_python_writes_it(value: object) -> None:
    assert loads_repaired(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), "replace") == (
        json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    )


def test_constants_repairs_and_what_is_no_json() -> None:
    numbers = loads_repaired(b"[NaN, Infinity, -Infinity]", "replace")
    assert isinstance(numbers, list)
    assert math.isnan(numbers[0])
    assert numbers[1:] == [math.inf, -math.inf]
    assert loads_repaired(b'"a\xffb"', "replace") == "a\ufffdb"
    assert loads_repaired(b'"a\xffb"', "ignore") == "ab"
    for line in (b"not JSON", b'{"a": ', b"[" * 100_000):
        with pytest.raises(BadRecordError, match="not JSON"):
            loads_repaired(line, "replace")


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        (["a", "", "b"], "a\n\nb"),
        ([], ""),
        ("a", "a"),
        (["a", None], ["a", None]),
        ([["a"]], [["a"]]),
        (None, None),
    ],
)
def test_lists_of_strings_are_joined(text: object, joined: object) -> None:
    assert join_strings(text) == joined


@pytest.mark.parametrize(
    ("line", "text_field", "expected"),
    [
        (b'[{"text": "a"}]', "text", True),
        (b"\xef\xbb\xbf [\n", "text", True),
        (b'["a"]', "text", False),
        (b'{"text": []}', "text", False),
        (b'[{"text": "a"}]', "0.text", False),
    ],
)
def test_the_beginning_of_an_array(line: bytes, text_field: str, expected: bool) -> None:
    assert begins_array(line, text_field) is expected


RECORD, OTHER = {"text": 'a {[ " b'}, {"splits": {"train": 3}}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("", "nothing"),
        (" \n\n", "nothing"),
        (json.dumps([RECORD, RECORD]), "one JSON array"),
        (json.dumps([RECORD, RECORD], indent=1), "one JSON array"),
        (json.dumps(OTHER), "one JSON object without a text under 'text'"),
        (json.dumps(OTHER, indent=2), "one JSON object"),
        (json.dumps(RECORD, indent=2), "one JSON object"),
        ("3", "one JSON value"),
        (json.dumps(RECORD), None),
        (f"{json.dumps(OTHER)}\n{json.dumps(RECORD)}", None),
        ('{"text": "cut', None),
        ("not JSON", None),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_what_a_json_file_is(content: str, value: str | None, mark: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(mark + content.encode())
    assert single_value(tmp_path / "x.json", "text") == value
