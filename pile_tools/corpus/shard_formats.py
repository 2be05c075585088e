"""Shard formats: a row for each suffix that the name of a shard may end with.

A row names the modules of this package that read and write the format. A reader has ``documents`` and
``text`` (see `reader.ReaderModule`), a writer ``copy_rows`` and ``check_copy`` (see
`shard_copy.WriterModule`). They are named and not imported, since Arrow takes 0.1 s to load and most
processes need no Parquet. Another format is a row here and its module.
"""

from dataclasses import dataclass
from typing import Final

__all__ = [
    "DIRECTORY_SUFFIXES",
    "FORMATS",
    "SUFFIXES_LISTED",
    "ShardFormat",
    "find_format",
    "kept_name",
]


@dataclass(frozen=True, slots=True)
class ShardFormat:
    """One row of ``FORMATS``.

    ``suffix`` in lower case, ``reader`` and ``writer`` the names of their modules, ``kept`` the suffix of
    the shard that keeps some of the records, ``content`` what the first bytes of a file say that it is
    (see `file_magic`), ``media_types`` its type and that of its compression, ``loader`` the name by which
    `datasets` loads it, ``compression`` the part of ``suffix`` that names one. A file with ``one_document``
    is one: a copy without it is no file, and a search of a directory does not take it for a shard.
    """

    suffix: str
    reader: str
    writer: str
    kept: str
    content: tuple[str, ...]
    media_types: tuple[str, ...]
    loader: str
    compression: str = ""
    one_document: bool = False


_COMPRESSIONS: Final = {
    "": ("text", ()),
    ".gz": ("gzip data", ("application/gzip",)),
    ".zst": ("zstd data", ("application/zstd",)),
    ".xz": ("xz data", ("application/x-xz",)),
    ".bz2": ("bzip2 data", ("application/x-bzip2",)),
}
# Records kept of these go into zstd frames, where one is reached without the others.
_REWRITTEN: Final = (".xz", ".bz2")


def _json_lines(name: str, compression: str) -> ShardFormat:
    suffix = name + compression
    kept = ".jsonl.zst" if compression in _REWRITTEN else suffix
    content, media_types = _COMPRESSIONS[compression]
    media_types = ("application/jsonlines", *media_types)
    return ShardFormat(suffix, "jsonl", "jsonl", kept, (content,), media_types, "json", compression)


FORMATS: Final = {
    row.suffix: row
    for row in (
        *(
            _json_lines(name, compression)
            for name in (".jsonl", ".ndjson", ".json")
            for compression in _COMPRESSIONS
        ),
        ShardFormat(
            ".parquet",
            reader="parquet",
            writer="parquet_copy",
            kept=".parquet",
            content=("a Parquet file",),
            media_types=("application/x-parquet",),
            loader="parquet",
        ),
        ShardFormat(
            ".arrow",
            reader="arrow",
            writer="arrow",
            kept=".parquet",
            content=("an Arrow file", "an Arrow stream"),
            media_types=("application/vnd.apache.arrow.file",),
            loader="arrow",
        ),
        ShardFormat(
            ".txt",
            reader="text_file",
            writer="text_file",
            kept=".txt",
            content=("text",),
            media_types=("text/plain",),
            loader="text",
            one_document=True,
        ),
    )
}
"""The shard formats by suffix. Upper and lower case are not told apart."""

# A directory of shards often holds text files that are no documents.
DIRECTORY_SUFFIXES: Final = tuple(row.suffix for row in FORMATS.values() if not row.one_document)
"""What the names of the shards in a directory end with."""

SUFFIXES_LISTED: Final = (
    ".jsonl, .ndjson or .json (also with .gz, .zst, .xz or .bz2 after it), .parquet, .arrow, .txt"
)
"""The suffixes as messages list them."""


def find_format(name: str) -> ShardFormat | None:
    """Return the format of a shard by its name; None for a name that is not that of a shard."""
    lowered = name.lower()
    return next((row for suffix, row in FORMATS.items() if lowered.endswith(suffix)), None)


def kept_name(name: str) -> str:
    """Return the name of the shard that keeps some records of the shard ``name``."""
    row = find_format(name)
    return name if row is None or row.kept == row.suffix else name[: -len(row.suffix)] + row.kept
