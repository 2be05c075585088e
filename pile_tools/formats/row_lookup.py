"""The text of one record of a shard, found without reading the others where the format allows it.

What `pile-tools dedup` wrote as ``.jsonl.zst`` has a frame index, and one frame (1 MiB of text) is read;
of a Parquet file one row group; other files are streamed up to the row, which counts newlines and parses
nothing else.
"""

from collections.abc import Iterable, Iterator

import zstandard

from pile_tools.errors import DataError
from pile_tools.formats.corpus import Shard
from pile_tools.formats.documents import ShardReader
from pile_tools.formats.file_magic import check_magic
from pile_tools.formats.lines import shard_chunks
from pile_tools.formats.zstd import read_frame_index

__all__ = ["read_text"]


def read_text(shard: Shard, row: int, text_field: str = "text") -> bytes:
    """Return the UTF-8 text of the record in ``row`` of ``shard``, repaired as `ShardReader` does.

    Raises DataError where there is no such row, or no text in it.
    """
    if row < 0:
        raise DataError(f"{shard.path}: no row {row}; it is not the file that was read")
    reader = ShardReader(shard, text_field=text_field)
    text: bytes | None = None
    if shard.format == ".parquet":
        from pile_tools.formats.parquet_shard import parquet_text

        text = parquet_text(reader, row)
    elif shard.format == ".txt":
        for batch in reader:
            text = batch.text.tobytes() if row == 0 else None
    else:
        check_magic(shard.path, shard.format)
        line = _line_of_frames(shard, row) if shard.format == ".jsonl.zst" else None
        text = reader.parse_line(_line(shard, shard_chunks(shard), row) if line is None else line, row)
    if text is None:
        raise DataError(f"{shard.path}:{row}: no text there; it is not the file that was read")
    return text


def _line_of_frames(shard: Shard, row: int) -> bytes | None:
    """The line by way of the file's frame index; None where it has none."""
    index = read_frame_index(shard.path)
    if index is None:
        return None
    if not 0 <= row < index.rows[-1]:
        raise DataError(f"{shard.path}: no row {row} of {index.rows[-1]}; it is not the file that was read")
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

    return _line(shard, frames(), row - int(index.rows[first]))


def _line(shard: Shard, chunks: Iterable[bytes], number: int) -> bytes:
    """Line ``number`` of the bytes that ``chunks`` are, its newline included."""
    parts: list[bytes] = []
    for chunk in chunks:
        newlines = chunk.count(b"\n")
        if newlines < number:
            number -= newlines
            continue
        start = 0
        while number:
            start = chunk.index(b"\n", start) + 1
            number -= 1
        stop = chunk.find(b"\n", start) + 1
        parts.append(chunk[start : stop or None])
        if stop:
            break
    line = b"".join(parts)
    if not line:
        raise DataError(f"{shard.path}: it has too few lines; it is not the file that was read")
    return line
