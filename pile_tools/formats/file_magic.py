"""First bytes of files (magic numbers): what a shard holds, where its name says something else."""

from pathlib import Path

from pile_tools.errors import DataError

__all__ = ["MAGIC_BYTES", "check_magic", "check_text"]

MAGIC_BYTES = 16
"""Bytes from the beginning of a file that tell what it is."""

# What no UTF-8 text begins with.
_BINARY = (
    ("zstd data", (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))),
    ("gzip data", (b"\x1f\x8b",)),
    ("xz data", (b"\xfd7zXZ\0",)),
    ("bzip2 data", tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))),
    ("LZ4 data", (b"\x04\x22\x4d\x18",)),
    ("a zstd dictionary", (b"\x37\xa4\x30\xec",)),
    ("a zip archive", (b"PK\x03\x04", b"PK\x05\x06")),
    ("a Parquet file", (b"PAR1\x15",)),
    ("an Arrow file", (b"ARROW1\0\0",)),
    ("UTF-32 text", (b"\xff\xfe\0\0", b"\0\0\xfe\xff")),
    ("UTF-16 text", (b"\xff\xfe", b"\xfe\xff")),
)
_REMEDIES = {
    "zstd data": "rename the file to end in .jsonl.zst",
    "gzip data": "rename the file to end in .jsonl.gz",
    "a Parquet file": "rename the file to end in .parquet",
    "UTF-16 text": "convert it to UTF-8",
    "UTF-32 text": "convert it to UTF-8",
    "text": "rename the file to end in .jsonl",
    "a zstd dictionary": "it is no shard; move it away",
}
_FORMATS = {".jsonl.zst": "zstd data", ".jsonl.gz": "gzip data", ".parquet": "a Parquet file"}


def _kind(head: bytes) -> str | None:
    """What bytes at the beginning of a file say that it is; "text" for JSON, None for what is not known."""
    for kind, magics in _BINARY:
        if head.startswith(magics):
            return kind
    for low, high in ((head[0:8:2], head[1:8:2]), (head[1:8:2], head[0:8:2])):
        if len(head) >= 4 and not any(high) and all(low):
            return "UTF-16 text"  # without a byte order mark
    return "text" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) else None


def _refuse(path: Path, expected: str, kind: str, inside: str = "") -> None:
    remedy = _REMEDIES.get(kind, "unpack it, and write its lines as .jsonl")
    raise DataError(f"{path}: {expected} by its name, but holds {kind}{inside}; {remedy}")


def check_magic(path: Path, suffix: str) -> None:
    """Raise DataError where the first bytes of a file are those of another format than ``suffix``."""
    with path.open("rb") as file:
        head = file.read(MAGIC_BYTES)
    expected = _FORMATS.get(suffix, "text")
    kind = _kind(head)
    if kind not in (None, expected):
        _refuse(path, suffix, str(kind))


def check_text(path: Path, suffix: str, head: bytes) -> None:
    """Raise DataError where ``head``, the first bytes of what a file holds unpacked, are no UTF-8 text."""
    kind = _kind(head)
    if kind not in (None, "text"):
        _refuse(path, suffix, str(kind), " once it is unpacked" if suffix in _FORMATS else "")
