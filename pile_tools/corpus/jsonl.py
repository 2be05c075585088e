"""JSON lines: the documents of a shard, one record of it, and a copy of some of its lines."""

from collections.abc import Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson
import zstandard
from numpy.typing import NDArray

from pile_tools.corpus.compression import COMPRESSIONS
from pile_tools.corpus.file_magic import MAGIC_BYTES, check_magic, check_text
from pile_tools.corpus.json_record import (
    BOM,
    BadRecordError,
    begins_array,
    join_strings,
    loads_repaired,
    reach,
)
from pile_tools.corpus.lines import LinePiece, shard_chunks, shard_line_groups
from pile_tools.corpus.records import DocumentBatch, RecordReader, replace_surrogates
from pile_tools.corpus.shard import Shard
from pile_tools.corpus.shard_copy import check_rows
from pile_tools.corpus.zstd import FRAME_BYTES, read_frame_index
from pile_tools.errors import DataError

__all__ = ["check_copy", "copy_rows", "documents", "text"]


def documents(reader: RecordReader) -> Iterator[DocumentBatch]:
    """Yield the documents of ``reader.shard``, counting into ``reader``."""
    parser = _Parser(reader)
    rows: list[int] = []
    texts: list[bytes] = []
    sources: list[str | None] = []
    held = 0
    for row, line in _lines(reader):
        try:
            text, source = parser.parse(line, row)
        except BadRecordError as error:
            reader.bad_record(row, str(error), error.hint)
            continue
        if text is None:
            reader.counts.blank_lines += 1
            continue
        rows.append(row)
        texts.append(text)
        sources.append(source)
        held += len(text)
        if held >= reader.batch_bytes:
            yield reader.make_batch(rows, texts, sources)
            rows, texts, sources, held = [], [], [], 0
    if rows:
        yield reader.make_batch(rows, texts, sources)


def _lines(reader: RecordReader) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are asked for and not too large, with their rows."""
    shard = reader.shard
    check_magic(shard.path, shard.format)
    for group in shard_line_groups(shard, reader.max_record_bytes):
        first = reader.counts.rows
        if first == 0:
            _check_head(reader, group)
        if not isinstance(group, list):
            reader.counts.rows += group.end
            wanted = reader.wanted(first, 1)
            if group.start and (wanted is None or wanted[0]):
                reader.oversized_record(first)
            continue
        reader.counts.rows += len(group)
        lines: Iterator[tuple[int, bytes]] = enumerate(group, first)
        wanted = reader.wanted(first, len(group))
        if wanted is not None:
            lines = compress(lines, wanted.tolist())
        for row, line in lines:
            if reader.is_oversized(len(line)):
                reader.oversized_record(row)
            else:
                yield row, line


def _check_head(reader: RecordReader, group: list[bytes] | LinePiece) -> None:
    """Raise DataError where the first lines of a shard are no UTF-8 text, or begin one JSON array."""
    path, shard_format = reader.shard.path, reader.shard.format
    if isinstance(group, list):
        check_text(path, shard_format, b"".join(group[:MAGIC_BYTES])[:MAGIC_BYTES])
        line = next((line for line in group if line.removeprefix(BOM).strip()), b"")
    elif group.start:
        check_text(path, shard_format, group.data[:MAGIC_BYTES])
        line = group.data
    else:
        return
    if begins_array(line, reader.text_field):
        raise DataError(
            f"{path}: one JSON array, not a JSON record in each line; write its elements into a .jsonl file "
            "with `jq -c '.[]'`"
        )


class _Parser:
    """Take text and source out of the lines of a shard, counting repairs into ``reader``."""

    def __init__(self, reader: RecordReader) -> None:
        self._reader = reader
        self._text_keys = tuple(reader.text_field.split("."))
        self._source_keys = tuple(reader.source_field.split("."))

    def parse(self, line: bytes, row: int) -> tuple[bytes | None, str | None]:
        """Return text and source of a line; no text for a blank one. Raises BadRecordError."""
        text_field, source_field = self._reader.text_field, self._reader.source_field
        try:
            record: Any = orjson.loads(line)
            text = join_strings(reach(record, text_field, self._text_keys))
            if type(text) is str:
                source = reach(record, source_field, self._source_keys)
                return text.encode(), source if type(source) is str else None
        except orjson.JSONDecodeError:
            if row == 0:
                line = line.removeprefix(BOM)
            if not line.strip():
                return None, None
            record = loads_repaired(line, "replace")
            text = join_strings(reach(record, text_field, self._text_keys))
        if not isinstance(text, str):
            raise self._no_text(record, text)
        clean = replace_surrogates(text)
        if "\ufffd" in clean:
            before = join_strings(reach(loads_repaired(line, "ignore"), text_field, self._text_keys))
            known = before.count("\ufffd") if isinstance(before, str) else 0
            self._reader.repaired(clean.count("\ufffd") - known)
        source = reach(record, source_field, self._source_keys)
        return clean.encode(), replace_surrogates(source) if isinstance(source, str) else None

    def _no_text(self, record: object, text: object) -> BadRecordError:
        field = self._reader.text_field
        reason = f"no text under {field!r}" if text is None else f"{field!r} is no string"
        if not isinstance(record, dict):
            return BadRecordError(reason, "the record is no JSON object")
        names = list(map(replace_surrogates, record))
        return BadRecordError(reason, self._reader.name_text("keys", names))


def text(reader: RecordReader, row: int) -> bytes:
    """Return the text in line ``row`` of ``reader.shard``; NoDocumentError where there is none.

    The frame index of a zstd file of ours leads to the line; other files are read up to it.
    """
    shard = reader.shard
    check_magic(shard.path, shard.format)
    start, chunks = _frames_from(shard, row) if shard.format.compression == ".zst" else (0, None)
    line = _line(shard_chunks(shard) if chunks is None else chunks, row - start)
    if not line:
        raise reader.no_document(row, "no such line")
    if reader.is_oversized(len(line)):
        raise reader.no_document(row, f"a line of {len(line)} bytes")
    try:
        content, _ = _Parser(reader).parse(line, row)
    except BadRecordError as error:
        raise reader.no_document(row, str(error)) from None
    if content is None:
        raise reader.no_document(row, "a blank line")
    return content


def _frames_from(shard: Shard, row: int) -> tuple[int, Iterator[bytes] | None]:
    """Return the first row of the frame that ``row`` begins in, and what that and further frames hold.

    The row is 0 and the frames are None where the file has no frame index.
    """
    index = read_frame_index(shard.path)
    if index is None:
        return 0, None
    if row >= index.rows[-1]:
        return row, iter(())
    first = index.frame_of_row(row)

    def frames() -> Iterator[bytes]:
        decompressor = zstandard.ZstdDecompressor()
        with shard.path.open("rb") as file:
            file.seek(int(index.offsets[first]))
            for frame in range(first, len(index.offsets) - 1):
                data = file.read(int(index.offsets[frame + 1] - index.offsets[frame]))
                try:
                    yield decompressor.decompress(data)
                except zstandard.ZstdError as error:
                    raise DataError(
                        f"{shard.path}: damaged zstd frame {frame} ({error}); fetch the file again"
                    ) from None

    return int(index.rows[first]), frames()


def _line(chunks: Iterable[bytes], row: int) -> bytes:
    """Return line ``row`` of the bytes that ``chunks`` are, its newline included; empty after the last."""
    parts: list[bytes] = []
    for chunk in chunks:
        newlines = chunk.count(b"\n")
        if newlines < row:
            row -= newlines
            continue
        start = 0
        while row:
            start = chunk.index(b"\n", start) + 1
            row -= 1
        stop = chunk.find(b"\n", start) + 1
        parts.append(chunk[start : stop or None])
        if stop:
            break
    return b"".join(parts)


def copy_rows(shard: Shard, keep: NDArray[np.bool_], file: BinaryIO) -> int:
    """Write the lines for which ``keep`` (bool, [rows]) is true, byte for byte; return how many."""
    writer = COMPRESSIONS[shard.format.compression].writer(file)
    flags = keep.tolist()
    row = copied = 0
    for group in shard_line_groups(shard, FRAME_BYTES):
        if isinstance(group, list):
            check_rows(shard, max(row + len(group), len(keep)), keep)
            own = flags[row : row + len(group)]
            writer.write_lines(compress(group, own))
            row += len(group)
            copied += sum(own)
            continue
        check_rows(shard, max(row + 1, len(keep)), keep)
        if flags[row]:
            copied += group.end
            writer.write_piece(group.data, first=group.start)
        row += group.end
    check_rows(shard, row, keep)
    writer.close()
    return copied


def check_copy(path: Path) -> None:
    """Accept any file: lines are copied byte for byte."""
