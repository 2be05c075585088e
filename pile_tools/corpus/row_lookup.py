"""The text of one record of a shard, without reading the others where the format allows it.

What `pile-tools dedup` wrote as ``.jsonl.zst`` has a frame index, and one frame (1 MiB of text) is read;
a Parquet file is read in one row group; other files are streamed up to the row, which counts newlines
or rows and parses nothing else.
"""

from pile_tools.corpus.reader import load_reader
from pile_tools.corpus.records import RecordReader
from pile_tools.corpus.shard import Shard

__all__ = ["read_text"]


def read_text(shard: Shard, row: int, text_field: str = "text", max_record_bytes: int | None = None) -> bytes:
    """Return the UTF-8 text of the record in ``row`` of ``shard``, repaired as `ShardReader` does.

    Raises NoDocumentError where there is no such row or no document in it: a blank line, a bad record, or
    one of more than ``max_record_bytes``.
    """
    reader = RecordReader(shard, text_field=text_field, max_record_bytes=max_record_bytes)
    if row < 0:
        raise reader.no_document(row, "rows are counted from 0")
    return load_reader(shard.format).text(reader, row)
