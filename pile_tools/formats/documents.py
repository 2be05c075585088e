"""Documents out of a shard, whatever its format, in batches of UTF-8 bytes; and shards out of shards.

Text is repaired in one way only: each invalid UTF-8 sequence and each lone surrogate becomes U+FFFD,
and is counted. Every other fault is a bad record, which is an error or, on request, skipped and counted.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress, pairwise
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

from pile_tools.errors import DataError, RecordsError
from pile_tools.formats.corpus import Shard
from pile_tools.formats.file_magic import MAGIC_BYTES, check_magic, check_text
from pile_tools.formats.lines import shard_line_groups
from pile_tools.formats.utf8 import repair_utf8, replace_surrogates

__all__ = [
    "BadRecordPolicy",
    "DocumentBatch",
    "ReadCounts",
    "ShardReader",
]

BadRecordPolicy = Literal["error", "skip"]

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """n documents of one shard, in order.

    rows: int64 [n], each document's row in the shard. text: uint8, the UTF-8 bytes of all documents
    end to end. offsets: int64 [n + 1], document i is ``text[offsets[i]:offsets[i + 1]]``. sources: the
    name of each document's source, None where the record names none.
    """

    rows: NDArray[np.int64]
    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sources: list[str | None]

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self) -> list[str]:
        """The documents as Python strings."""
        data, ends = self.text.tobytes(), self.offsets.tolist()
        return [data[a:b].decode() for a, b in pairwise(ends)]


@dataclass(slots=True)
class ReadCounts:
    """What reading one shard met. Rows = documents + blank_lines + skipped_records + oversized_records."""

    rows: int = 0
    documents: int = 0
    text_bytes: int = 0
    blank_lines: int = 0
    skipped_records: int = 0
    oversized_records: int = 0
    repaired_documents: int = 0
    replaced_characters: int = 0


_SHOWN_NAMES = 12


class _BadRecordError(Exception):
    """Why a record is no document, and (``hint``) what it has where its text was looked for."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def _reach(record: object, name: str, keys: tuple[str, ...]) -> object:
    """What is in ``record`` under the key ``name``, or else at the end of the path ``keys``.

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


def _loads_repaired(line: bytes, errors: Literal["replace", "ignore"]) -> object:
    """Parse JSON as Python writes it: with NaN, Infinity and -Infinity, which orjson refuses."""
    try:
        return json.loads(line.decode("utf-8", errors))
    except (ValueError, RecursionError) as error:
        raise _BadRecordError(f"not JSON ({error})") from None


def _joined(text: object) -> object:
    """Join a list of strings by newlines; give back anything else."""
    if isinstance(text, list) and all(isinstance(part, str) for part in text):
        return "\n".join(text)
    return text


@dataclass(slots=True)
class ShardReader:
    """Read the documents of one shard; iterate once.

    ``text_field`` and ``source_field`` are keys (or columns); one that a record (or file) does not have
    is taken as a path of keys (or struct columns) and list indexes with dots between them. A text that
    is a list of strings is joined by newlines.
    ``on_bad_record`` says what happens to a record that is not JSON or has no text: "error" raises
    DataError naming shard and row, "skip" counts it. A record of more than ``max_record_bytes`` is
    passed over and counted. Of the rows that ``only_rows`` (bool, [rows], or the number of one row)
    leaves out nothing is parsed or counted. ``counts``, ``skipped`` (row and reason) and ``oversized``
    (rows) are complete when the iteration has ended. ``first_skipped`` says what is wrong with the first
    record that was skipped, and what to do.
    """

    shard: Shard
    text_field: str = "text"
    source_field: str = "meta.pile_set_name"
    on_bad_record: BadRecordPolicy = "error"
    batch_bytes: int = 8 << 20
    max_record_bytes: int | None = None
    only_rows: NDArray[np.bool_] | int | None = None
    counts: ReadCounts = field(default_factory=ReadCounts)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    oversized: list[int] = field(default_factory=list)
    first_skipped: str = ""

    def __iter__(self) -> Iterator[DocumentBatch]:
        if self.shard.format == ".parquet":
            from pile_tools.formats.parquet_shard import parquet_documents

            return parquet_documents(self)
        if self.shard.format == ".txt":
            return self._text_file()
        return self._json_lines()

    def wanted(self, first: int, count: int) -> NDArray[np.bool_] | None:
        """Which of the rows from ``first`` are asked for: bool, [count]; None for all of them."""
        if self.only_rows is None:
            return None
        wanted = np.zeros(count, dtype=np.bool_)
        if isinstance(self.only_rows, int):
            if first <= self.only_rows < first + count:
                wanted[self.only_rows - first] = True
        else:
            own = self.only_rows[first : first + count]
            wanted[: len(own)] = own
        return wanted

    def bad_record(self, row: int, reason: str, hint: str = "") -> None:
        """Count the record of ``row`` as bad, or raise DataError; ``hint`` is shown, ``reason`` kept too."""
        said = f"{self.shard.path}:{row}: {reason}" + (f"; {hint}" if hint else "")
        if self.on_bad_record == "error":
            raise RecordsError(
                f"{said}; or mend the record, or pass over a few such records with `--on-bad-record skip`"
                if hint
                else f"{said}; mend the record, or pass over such records with `--on-bad-record skip`"
            )
        self.first_skipped = self.first_skipped or said
        self.counts.skipped_records += 1
        self.skipped.append((row, reason))

    def name_text(self, kind: str, names: Sequence[str]) -> str:
        """Return the hint that lists the keys or columns (``kind``) that have another name than was given."""
        shown = ", ".join(map(repr, names[:_SHOWN_NAMES])) + (", …" if len(names) > _SHOWN_NAMES else "")
        return f"its {kind} are {shown or 'none'}: name the one with the text by `--text-field`"

    def _no_text(self, record: object, text: object) -> _BadRecordError:
        field = self.text_field
        reason = f"no text under {field!r}" if text is None else f"{field!r} is no string"
        if not isinstance(record, dict):
            return _BadRecordError(reason, "the record is no JSON object")
        return _BadRecordError(reason, self.name_text("keys", list(map(replace_surrogates, record))))

    def oversized_record(self, row: int) -> None:
        """Count the record of ``row`` as too large to be held."""
        self.counts.oversized_records += 1
        self.oversized.append(row)

    def repaired(self, replaced: int) -> None:
        """Count a document into which ``replaced`` U+FFFD were put."""
        self.counts.repaired_documents += replaced > 0
        self.counts.replaced_characters += replaced

    def parse_line(self, line: bytes, row: int) -> bytes:
        """Return the text of ``line``, which is line ``row`` of the shard; DataError where it has none."""
        try:
            text, _ = self._parse(
                line, row, tuple(self.text_field.split(".")), tuple(self.source_field.split("."))
            )
        except _BadRecordError as error:
            raise DataError(f"{self.shard.path}:{row}: {error}") from None
        if text is None:
            raise DataError(f"{self.shard.path}:{row}: a blank line")
        return text

    def make_batch(self, rows: list[int], texts: list[bytes], sources: list[str | None]) -> DocumentBatch:
        """Count and join documents."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
        self.counts.documents += len(rows)
        self.counts.text_bytes += int(offsets[-1])
        text = np.frombuffer(b"".join(texts), dtype=np.uint8)
        return DocumentBatch(np.array(rows, dtype=np.int64), text, offsets, sources)

    def _text_file(self) -> Iterator[DocumentBatch]:
        self.counts.rows = 1
        wanted = self.wanted(0, 1)
        if wanted is not None and not wanted[0]:
            return
        size = self.shard.path.stat().st_size
        if self.max_record_bytes is not None and size > self.max_record_bytes:
            self.oversized_record(0)
            return
        check_magic(self.shard.path, self.shard.format)
        text, replaced = repair_utf8(self.shard.path.read_bytes())
        self.repaired(replaced)
        yield self.make_batch([0], [text.encode()], [None])

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are asked for and not too large, with their rows."""
        check_magic(self.shard.path, self.shard.format)
        for group in shard_line_groups(self.shard, self.max_record_bytes):
            first = self.counts.rows
            if first == 0 and (isinstance(group, list) or group.start):
                head = b"".join(group[:MAGIC_BYTES]) if isinstance(group, list) else group.data
                check_text(self.shard.path, self.shard.format, head[:MAGIC_BYTES])
            if not isinstance(group, list):
                self.counts.rows += group.end
                wanted = self.wanted(first, 1)
                if group.start and (wanted is None or wanted[0]):
                    self.oversized_record(first)
                continue
            self.counts.rows += len(group)
            lines: Iterator[tuple[int, bytes]] = enumerate(group, first)
            wanted = self.wanted(first, len(group))
            if wanted is not None:
                lines = compress(lines, wanted.tolist())
            for row, line in lines:
                if self.max_record_bytes is not None and len(line) > self.max_record_bytes:
                    self.oversized_record(row)
                else:
                    yield row, line

    def _json_lines(self) -> Iterator[DocumentBatch]:
        text_keys, source_keys = tuple(self.text_field.split(".")), tuple(self.source_field.split("."))
        rows: list[int] = []
        texts: list[bytes] = []
        sources: list[str | None] = []
        held = 0
        for row, line in self._lines():
            try:
                text, source = self._parse(line, row, text_keys, source_keys)
            except _BadRecordError as error:
                self.bad_record(row, str(error), error.hint)
                continue
            if text is None:
                self.counts.blank_lines += 1
                continue
            rows.append(row)
            texts.append(text)
            sources.append(source)
            held += len(text)
            if held >= self.batch_bytes:
                yield self.make_batch(rows, texts, sources)
                rows, texts, sources, held = [], [], [], 0
        if rows:
            yield self.make_batch(rows, texts, sources)

    def _parse(
        self, line: bytes, row: int, text_keys: tuple[str, ...], source_keys: tuple[str, ...]
    ) -> tuple[bytes | None, str | None]:
        """Text and source of a line; no text for a blank one. Raises _BadRecordError."""
        try:
            record: Any = orjson.loads(line)
            text = _joined(_reach(record, self.text_field, text_keys))
            if type(text) is str:
                source = _reach(record, self.source_field, source_keys)
                return text.encode(), source if type(source) is str else None
        except orjson.JSONDecodeError:
            if row == 0:
                line = line.removeprefix(_BOM)
            if not line.strip():
                return None, None
            record = _loads_repaired(line, "replace")
            text = _joined(_reach(record, self.text_field, text_keys))
        if not isinstance(text, str):
            raise self._no_text(record, text)
        clean = replace_surrogates(text)
        if "\ufffd" in clean:
            before = _joined(_reach(_loads_repaired(line, "ignore"), self.text_field, text_keys))
            self.repaired(clean.count("\ufffd") - (before.count("\ufffd") if isinstance(before, str) else 0))
        source = _reach(record, self.source_field, source_keys)
        return clean.encode(), replace_surrogates(source) if isinstance(source, str) else None
