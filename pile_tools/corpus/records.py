"""Records of a shard: which are read, what becomes of bad ones, batches of documents, and counts.

Text is repaired in one way only: each invalid UTF-8 sequence and each lone surrogate becomes U+FFFD,
and is counted. Every other fault is a bad record, which is an error or, on request, skipped and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pile_tools.corpus.shard import Shard
from pile_tools.errors import NoDocumentError, RecordsError

__all__ = [
    "BadRecordPolicy",
    "DocumentBatch",
    "ReadCounts",
    "RecordReader",
    "repair_utf8",
    "replace_surrogates",
]

BadRecordPolicy = Literal["error", "skip"]

_SHOWN_NAMES = 12


def repair_utf8(data: bytes) -> tuple[str, int]:
    """Decode UTF-8 with U+FFFD for every invalid sequence; also return how many were put in."""
    text = data.decode("utf-8", "replace")
    return text, text.count("\ufffd") - data.count(b"\xef\xbf\xbd")


def replace_surrogates(text: str) -> str:
    """Put U+FFFD for each lone surrogate; a pair of halves becomes the character that they stand for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


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


@dataclass(slots=True)
class RecordReader:
    """What is asked of one shard, and what reading it has met so far.

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

    def oversized_record(self, row: int) -> None:
        """Count the record of ``row`` as too large to be held."""
        self.counts.oversized_records += 1
        self.oversized.append(row)

    def no_document(self, row: int, reason: str) -> NoDocumentError:
        """Return the error of a row that was asked for."""
        return NoDocumentError(f"{self.shard.path}:{row}: {reason}; it is not the file that was read")

    def is_oversized(self, length: int) -> bool:
        """Whether a record of ``length`` bytes is passed over."""
        return self.max_record_bytes is not None and length > self.max_record_bytes

    def repaired(self, replaced: int) -> None:
        """Count a document into which ``replaced`` U+FFFD were put."""
        self.counts.repaired_documents += replaced > 0
        self.counts.replaced_characters += replaced

    def make_batch(self, rows: list[int], texts: list[bytes], sources: list[str | None]) -> DocumentBatch:
        """Count and join documents."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
        self.counts.documents += len(rows)
        self.counts.text_bytes += int(offsets[-1])
        text = np.frombuffer(b"".join(texts), dtype=np.uint8)
        return DocumentBatch(np.array(rows, dtype=np.int64), text, offsets, sources)
