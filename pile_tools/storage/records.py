"""JSON records: strict reading against a declared shape.

A shape is built of kinds, functions that return a JSON value as its reader wants it or raise ``Mismatch``::

    ENTRY = fields({"name": file_name(), "bytes": integer(), "sha256": text()}, FileEntry)
    ORDER = RecordKind("an order", "run `pile-tools order` again", {"pile-tools order 1": fields(...)})
    record = ORDER.read(content, "tokens/order.json")

Whatever the bytes are, ``read`` returns a record of that shape or raises DataError with the name of the file,
the field and its value, and the remedy.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson

from pile_tools.errors import DataError
from pile_tools.storage.names import check_name, name_problem

__all__ = [
    "Kind",
    "Mismatch",
    "RecordKind",
    "Section",
    "anything",
    "boolean",
    "fields",
    "file_name",
    "integer",
    "items",
    "location",
    "mapping",
    "one_of",
    "optional",
    "pair",
    "parse_json",
    "read_json",
    "read_json_file",
    "read_value",
    "section",
    "text",
]

T = TypeVar("T")
Kind = Callable[[Any], Any]

# Deeper than any record: what compares, prints and writes values calls itself once for each level.
_DEEPEST: Final = 64
_LARGEST_INTEGER: Final = (1 << 63) - 1


class Mismatch(Exception):
    """A JSON value is not of the kind that is wanted; ``path`` leads to it from the root."""

    def __init__(self, value: object, expected: str) -> None:
        super().__init__(expected)
        self.value = value
        self.expected = expected
        self.path: list[str | int] = []

    def error(self, name: str, what: str, remedy: str) -> DataError:
        """Return the error of the file ``name``, which is not ``what``."""
        path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.path)
        field = f"{path.removeprefix('.')} is " if path else ""
        return DataError(f"{name}: not {what} ({field}{self.value!r:.100}, not {self.expected}); {remedy}")


class _BadName(Mismatch):
    def __init__(self, value: object, nested: bool) -> None:
        super().__init__(value, "the name of a file")
        self.nested = nested

    def error(self, name: str, what: str, remedy: str) -> DataError:
        try:
            check_name(self.value, name, nested=self.nested)
        except DataError as error:
            return error
        raise AssertionError(self.value)


def parse_json(content: bytes, name: str, what: str, remedy: str) -> Any:
    """Return the JSON value in ``content``, the bytes of the file ``name``, which should be ``what``.

    Raises DataError, which ends with ``remedy``, for bytes that are not JSON and for values nested deeper
    than any record is.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{name}: not {what} ({error}); {remedy}") from None
    level = [value]
    for _ in range(_DEEPEST):
        containers = [item for item in level if isinstance(item, dict | list)]
        if not containers:
            return value
        level = [
            child for item in containers for child in (item.values() if isinstance(item, dict) else item)
        ]
    raise DataError(f"{name}: not {what} (nested deeper than {_DEEPEST} levels); {remedy}")


def integer(low: int = 0, high: int = _LARGEST_INTEGER) -> Kind:
    """Return the kind of whole numbers from ``low`` to ``high``."""

    def check(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            bounds = f"of {low} or more" if high == _LARGEST_INTEGER else f"from {low} to {high}"
            raise Mismatch(value, f"an integer {bounds}")
        return value

    return check


def text() -> Kind:
    """Return the kind of texts."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise Mismatch(value, "a text")
        return value

    return check


def location() -> Kind:
    """Return the kind of paths and URLs that a record may lead to anywhere (see ``storage.names``)."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Mismatch(value, "a path or URL")
        return value

    return check


def file_name(*, nested: bool = True) -> Kind:
    """Return the kind of names of files inside of the record's directory (see ``storage.names``)."""

    def check(value: Any) -> str:
        if name_problem(value, nested=nested) is not None:
            raise _BadName(value, nested)
        return str(value)

    return check


def boolean() -> Kind:
    """Return the kind of true and false."""

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise Mismatch(value, "true or false")
        return value

    return check


def one_of(values: Collection[str]) -> Kind:
    """Return the kind of the texts ``values``."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in values:
            raise Mismatch(value, f"one of {', '.join(values)}")
        return value

    return check


def optional(kind: Kind) -> Kind:
    """Return the kind of null and of what is of ``kind``."""
    return lambda value: None if value is None else kind(value)


def anything(value: Any) -> Any:
    """Return any JSON value as it is: the kind of values that others check."""
    return value


def items(kind: Kind, low: int = 0, high: int | None = None, make: Callable[[Any], Any] = tuple) -> Kind:
    """Return the kind of lists of ``low`` to ``high`` values of ``kind``, read as tuples or by ``make``."""

    def check(value: object) -> Any:
        if not isinstance(value, list) or len(value) < low or (high is not None and len(value) > high):
            count = f"{low}" if low == high else f"{low} or more" if high is None else f"{low} to {high}"
            raise Mismatch(value, f"a list of {count} values")
        return make(_inside(index, kind, item) for index, item in enumerate(value))

    return check


def pair(first: Kind, second: Kind) -> Kind:
    """Return the kind of lists of one value of ``first`` and one of ``second``, read as tuples."""
    kinds = (first, second)

    def check(value: object) -> tuple[Any, Any]:
        if not isinstance(value, list) or len(value) != len(kinds):
            raise Mismatch(value, "a list of 2 values")
        left, right = (_inside(index, kinds[index], item) for index, item in enumerate(value))
        return left, right

    return check


def mapping(key: Kind, kind: Kind) -> Kind:
    """Return the kind of objects whose keys are of the kind ``key`` and whose values are of ``kind``."""

    def check(value: object) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise Mismatch(value, "an object")
        return {key(name): _inside(name, kind, item) for name, item in value.items()}

    return check


def fields(
    required: Mapping[str, Kind],
    make: Callable[..., Any] = dict,
    *,
    absent: Mapping[str, Kind] | None = None,
    others: bool = False,
) -> Kind:
    """Return the kind of objects with the fields ``required``, read as ``make(**fields)``.

    Fields in ``absent`` may be left out; any other field is refused, or ignored where ``others`` are allowed.
    """
    known = {**required, **(absent or {})}

    def check(value: object) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(value, "an object")
        for name in required:
            if name not in value:
                raise Mismatch(value, f"an object with {name}")
        read = {}
        for name, item in value.items():
            if name in known:
                read[name] = _inside(name, known[name], item)
            elif not others:
                raise Mismatch(name, f"one of its fields ({', '.join(known)})")
        return make(**read)

    return check


def _inside(key: str | int, kind: Kind, value: object) -> Any:
    """Return ``value``, which an object or list holds under ``key``, as one of ``kind``."""
    try:
        return kind(value)
    except Mismatch as mismatch:
        mismatch.path.insert(0, key)
        raise


class Section(dict[str, Any]):
    """An object in the record ``name`` whose fields are others' to know; DataError for one that it lacks."""

    def __init__(self, value: Mapping[str, Any], name: str, remedy: str) -> None:
        super().__init__(
            {
                key: Section(item, name, remedy) if isinstance(item, dict) else item
                for key, item in value.items()
            }
        )
        self._name = name
        self._remedy = remedy

    def __missing__(self, key: str) -> Any:
        raise DataError(f"{self._name}: holds no {key!r}; {self._remedy}")

    def __reduce__(self) -> Any:
        return Section, (dict(self), self._name, self._remedy)


def section(known: Mapping[str, Kind]) -> Kind:
    """Return the kind of objects with any fields, of which those in ``known`` are of these kinds."""
    check_known = fields({}, absent=known, others=True)

    def check(value: Any) -> Any:
        check_known(value)
        return value

    return check


@dataclass(frozen=True)
class RecordKind(Generic[T]):
    """A record file of ours: ``what`` it is, the ``remedy`` for a bad one, and the shape of each ``format``.

    ``is_sound`` compares fields with each other. A record is written in one way (``to_bytes``), so that any
    other bytes are refused.
    """

    what: str
    remedy: str
    formats: Mapping[str, Kind]
    to_bytes: Callable[[T], bytes]
    is_sound: Callable[[T], bool] = lambda record: True

    def read(self, content: bytes, name: str) -> T:
        """Return the record in ``content``, the bytes of the file ``name``; DataError for anything else."""
        value = parse_json(content, name, self.what, self.remedy)
        form = value.pop("format", None) if isinstance(value, dict) else None
        if not isinstance(form, str) or form not in self.formats:
            known = " or ".join(map(repr, self.formats))
            raise DataError(f"{name}: not {self.what} that this version reads ({known}); {self.remedy}")
        record: T = read_value(value, name, self.formats[form], self.what, self.remedy)
        try:
            is_written = self.is_sound(record) and self.to_bytes(record) == content
        except TypeError:  # a float, which no record holds
            is_written = False
        if not is_written:
            raise DataError(f"{name}: edited by hand or damaged; {self.remedy}")
        return record


def read_json(content: bytes, name: str, kind: Kind, what: str, remedy: str) -> Any:
    """Return the value of ``kind`` in ``content``, the bytes of the file ``name``; DataError for others."""
    return read_value(parse_json(content, name, what, remedy), name, kind, what, remedy)


def read_value(value: object, name: str, kind: Kind, what: str, remedy: str) -> Any:
    """Return ``value``, which the file ``name`` holds, as one of ``kind``; DataError where it is none."""
    try:
        return kind(value)
    except Mismatch as mismatch:
        raise mismatch.error(name, what, remedy) from None


def read_json_file(path: Path, kind: Kind, what: str, remedy: str) -> Any:
    """Return the value of ``kind`` in the file ``path``, which should be ``what``; DataError without it."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{path}: missing; {remedy}") from None
    return read_json(content, str(path), kind, what, remedy)
