"""First bytes of files as other tools write them, under the name of another format."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pile_tools.corpus.file_magic import MAGIC_BYTES, check_magic, check_text
from pile_tools.corpus.shard_formats import FORMATS
from pile_tools.errors import DataError

LINE = b'{"text": "a"}\n'
TABLE = pa.table({"text": ["a"]})


def of_pyarrow(kind: str) -> bytes:
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(TABLE, sink)
    else:
        with (pa.ipc.new_file if kind == "file" else pa.ipc.new_stream)(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.jsonl", LINE)
    return content.getvalue()


CONTENT = {
    "text": LINE,
    "zstd data": zstandard.compress(LINE),
    "gzip data": gzip.compress(LINE),
    "xz data": lzma.compress(LINE),
    "bzip2 data": bz2.compress(LINE),
    "a zip archive": zipped(),
    "a Parquet file": of_pyarrow("parquet"),
    "an Arrow file": of_pyarrow("file"),
    "an Arrow stream": of_pyarrow("stream"),
    "UTF-16 text": json.dumps({"text": "a"}).encode("utf-16"),
    "UTF-32 text": json.dumps({"text": "a"}).encode("utf-32"),
}
# A file of these is read on, for bytes of no known kind may be damaged text.
UNKNOWN = [b"", b"no JSON", b"\x00\x01", "\u00e9t\u00e9 et hiver".encode()]


@pytest.mark.parametrize("kind", CONTENT)
@pytest.mark.parametrize(
    "suffix", [".jsonl", ".jsonl.gz", ".json.zst", ".ndjson.xz", ".jsonl.bz2", ".parquet", ".arrow", ".txt"]
)
def test_a_file_is_of_the_format_that_its_name_says(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(CONTENT[kind])
    if kind in FORMATS[suffix].content:
        check_magic(path, FORMATS[suffix])
    else:
        with pytest.raises(DataError) as error:
            check_magic(path, FORMATS[suffix])
        assert str(error.value).startswith(f"{path}: {suffix} by its name, but holds {kind}; ")


@pytest.mark.parametrize("content", UNKNOWN)
@pytest.mark.parametrize("suffix", FORMATS)
def test_bytes_of_no_known_kind_are_left_to_the_reader(content: bytes, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    check_magic(tmp_path / "x", FORMATS[suffix])
    check_text(tmp_path / "x", FORMATS[suffix], content[:MAGIC_BYTES])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(LINE.decode().encode(encoding))
    with pytest.raises(DataError, match=r"holds UTF-16 text; convert it to UTF-8"):
        check_magic(tmp_path / "x.jsonl", FORMATS[".jsonl"])


def test_what_is_in_a_compressed_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    check_text(path, FORMATS[".jsonl.gz"], LINE)
    check_text(path, FORMATS[".jsonl.gz"], b"\xef\xbb\xbf" + LINE)
    for kind, content in CONTENT.items():
        if kind != "text":
            with pytest.raises(DataError, match=f"holds {kind} once it is unpacked; "):
                check_text(path, FORMATS[".jsonl.gz"], content[:MAGIC_BYTES])
    with pytest.raises(DataError, match=r"holds gzip data; rename the file to end in \.jsonl\.gz"):
        check_text(tmp_path / "x.jsonl", FORMATS[".jsonl"], CONTENT["gzip data"][:MAGIC_BYTES])
