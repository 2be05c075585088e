"""JSON records: the text in one, and files that are one JSON value instead of a record in each line."""

import json
import re
from pathlib import Path
from typing import Any, Final, Literal

import orjson

__all__ = [
    "BOM",
    "BadRecordError",
    "begins_array",
    "join_strings",
    "loads_repaired",
    "reach",
    "single_value",
]

BOM: Final = b"\xef\xbb\xbf"
# An array of records, on one line or over several. A record itself may be a list, but not of these.
_ARRAY: Final = re.compile(rb"\s*\[\s*(\{|$)")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONGEST_LINE: Final = 64 << 20


class BadRecordError(Exception):
    """Why a record is no document, and (``hint``) what it has where its text was looked for."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def reach(record: object, name: str, keys: tuple[str, ...]) -> object:
    """Return what is in ``record`` under the key ``name``, or else at the end of the path ``keys``.

    A key of the path that is a number is an index where it meets a list.
    """
    if isinstance(record, dict) and name in record:
        return record[name]
    for key in keys:
        if isinstance(record, dict):
            record = record.get(key)
        elif isinstance(record, list) and key.isascii() and key.isdecimal() and int(key) < len(record):
            record = record[int(key)]
        else:
            return None
    return record


def loads_repaired(line: bytes, errors: Literal["replace", "ignore"]) -> object:
    """Parse JSON as Python writes it: with NaN, Infinity and -Infinity, which orjson refuses."""
    try:
        return json.loads(line.decode("utf-8", errors))
    except (ValueError, RecursionError) as error:
        raise BadRecordError(f"not JSON ({error})") from None


def join_strings(text: object) -> object:
    """Join a list of strings by newlines; return anything else as it is."""
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        return "\n".join(text)
    return text


def begins_array(line: bytes, text_field: str) -> bool:
    """Whether ``line``, the first of a file, begins one JSON array of records.

    Not where ``text_field`` begins with an index: then each line is expected to be a list.
    """
    return not text_field.split(".")[0].isdecimal() and _ARRAY.match(line.removeprefix(BOM)) is not None


def _is_open(line: bytes) -> bool:
    """Whether a JSON object that begins with ``line`` goes on in the next one."""
    rest = _STRING.sub(b"", line)
    opened, closed = rest.count(b"{") + rest.count(b"["), rest.count(b"}") + rest.count(b"]")
    return line.startswith(b"{") and b'"' not in rest and opened > closed


def _first_lines(path: Path) -> tuple[bytes, bool]:
    """Return the first line of a file that is not blank (64 MiB of it), and whether another follows."""
    with path.open("rb") as file:
        lines = (line.strip() for line in iter(lambda: file.readline(_LONGEST_LINE), b""))
        filled = (line for line in lines if line.removeprefix(BOM))
        return next(filled, b""), next(filled, None) is not None


def single_value(path: Path, text_field: str) -> str | None:
    """Say what a ``.json`` file holds where that is no lines of records; None where it may be JSON lines.

    One array, or one object over several lines, is no record; neither is an object on the only line
    without a text under ``text_field`` (``dataset_infos.json``, ``tokenizer.json`` …). What is not JSON
    counts as lines, whose reader names the record that is damaged.
    """
    line, more = _first_lines(path)
    line = line.removeprefix(BOM)
    if not line:
        return "nothing"
    if begins_array(line, text_field):
        return "one JSON array"
    record: Any
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            record = loads_repaired(line, "replace")
        except BadRecordError:
            return "one JSON object" if _is_open(line) else None
    text = join_strings(reach(record, text_field, tuple(text_field.split("."))))
    if more or isinstance(text, str):
        return None
    return (
        f"one JSON object without a text under {text_field!r}"
        if isinstance(record, dict)
        else "one JSON value"
    )
