"""``documents.parquet``: the columns, the groups, lookups against a plain list of rows."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats import documents_parquet as provenance
from pile_tools.formats.documents_parquet import (
    PROVENANCE_SCHEMA,
    Provenance,
    ProvenanceWriter,
    integers,
    provenance_table,
    text_digest,
)

Row = tuple[str, int, str | None, int, bytes]


def rows_of(n: int) -> list[Row]:
    return [
        (f"part-{i // 7}.jsonl", i % 7, [None, "Web", "Code"][i % 3], i * 31, bytes([i % 256]) * 16)
        for i in range(n)
    ]


def table_of(rows: list[Row]) -> pa.Table:
    parts = [
        provenance_table(shard, [row], [source], [tokens], [digest])
        for shard, row, source, tokens, digest in rows
    ]
    return pa.concat_tables([PROVENANCE_SCHEMA.empty_table(), *parts])


def write(path: Path, rows: list[Row], cut: int = 10) -> Path:
    with path.open("wb") as file, ProvenanceWriter(file) as writer:
        for start in range(0, len(rows), cut):
            writer.write(table_of(rows[start : start + cut]))
        assert writer.rows == len(rows)
    return path


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROW_GROUP_ROWS", 8)


def as_rows(table: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.usefixtures("small_groups")
def test_another_reader_sees_the_columns_of_the_design(tmp_path: Path) -> None:
    rows = rows_of(30)
    table = pq.read_table(write(tmp_path / "documents.parquet", rows))
    assert table.schema.equals(PROVENANCE_SCHEMA)
    assert as_rows(table) == rows
    metadata = pq.read_metadata(tmp_path / "documents.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [8, 8, 8, 6]


@pytest.mark.usefixtures("small_groups")
def test_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    rows = rows_of(30)
    files = {write(tmp_path / f"{cut}.parquet", rows, cut).read_bytes() for cut in (1, 3, 8, 30)}
    assert len(files) == 1


@pytest.mark.usefixtures("small_groups")
@given(wanted=st.lists(st.integers(0, 99), max_size=30))
def test_lookup_is_the_rows_asked_for_in_their_order(
    wanted: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = rows_of(100)
    path = tmp_path_factory.getbasetemp() / "lookup.parquet"
    if not path.exists():
        write(path, rows)
    reader = Provenance(path)
    assert len(reader) == 100
    table = reader.lookup(wanted, PROVENANCE_SCHEMA.names)
    assert as_rows(table) == [rows[i] for i in wanted]
    assert reader.lookup(wanted).column_names == ["shard", "row", "source", "n_tokens"]


@pytest.mark.usefixtures("small_groups")
def test_every_address_leads_back_to_its_document(tmp_path: Path) -> None:
    rows = rows_of(50)
    reader = Provenance(write(tmp_path / "documents.parquet", rows))
    for document, (shard, row, *_) in enumerate(rows):
        assert reader.document_of(shard, row) == document
    assert reader.document_of("part-0.jsonl", 7) is None
    assert reader.document_of("part-99.jsonl", 0) is None


@pytest.mark.usefixtures("small_groups")
def test_tables_are_all_rows_in_order(tmp_path: Path) -> None:
    rows = rows_of(20)
    reader = Provenance(write(tmp_path / "documents.parquet", rows))
    assert [row for table in reader.tables() for row in as_rows(table)] == rows
    assert next(reader.tables(["row"])).column_names == ["row"]


def test_a_file_object_will_do(tmp_path: Path) -> None:
    content = write(tmp_path / "documents.parquet", rows_of(3)).read_bytes()
    reader = Provenance(io.BytesIO(content), "https://example.org/documents.parquet")
    assert as_rows(reader.lookup(2))[0][1] == 2
    with pytest.raises(OutOfRangeError, match=r"example.org/documents.parquet: document 3"):
        reader.lookup(3)


def test_empty(tmp_path: Path) -> None:
    reader = Provenance(write(tmp_path / "documents.parquet", []))
    assert len(reader) == 0
    assert reader.lookup([]).num_rows == 0
    assert reader.document_of("a", 0) is None


def test_negative_numbers_are_out_of_range(tmp_path: Path) -> None:
    reader = Provenance(write(tmp_path / "documents.parquet", rows_of(3)))
    with pytest.raises(OutOfRangeError, match="document -1"):
        reader.lookup([0, -1])


def test_what_is_no_provenance_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    with pytest.raises(PileToolsError, match="no such file"):
        Provenance(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        Provenance(path)
    pq.write_table(table_of(rows_of(3)).drop_columns(["row"]), path)
    with pytest.raises(DataError, match="column 'row' is missing"):
        Provenance(path)
    table = table_of(rows_of(3))
    pq.write_table(table.set_column(1, "row", pa.array([1.5, 2, 3])), path)
    with pytest.raises(DataError, match="column 'row' holds double"):
        Provenance(path)


def test_damage_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "documents.parquet", rows_of(2000))
    content = bytearray(path.read_bytes())
    content[4000] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(Provenance(path).tables())


def test_a_damaged_footer_is_noticed_or_harmless(tmp_path: Path) -> None:
    rows = rows_of(60)
    content = write(tmp_path / "documents.parquet", rows).read_bytes()
    judge = Provenance(tmp_path / "documents.parquet").lookup(range(60)).to_pylist()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    damaged = 0
    for place in range(len(content) - footer, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        try:
            assert Provenance(io.BytesIO(changed), "it").lookup(range(60)).to_pylist() == judge
        except DataError:
            damaged += 1
    assert damaged > footer // 30


def test_the_writer_takes_its_own_schema_only(tmp_path: Path) -> None:
    with (
        (tmp_path / "x").open("wb") as file,
        ProvenanceWriter(file) as writer,
        pytest.raises(ParameterError, match="columns"),
    ):
        writer.write(pa.table({"shard": ["a"]}))


def test_integers_of_slices_and_chunks() -> None:
    table = table_of(rows_of(20))
    assert integers(table, "row").tolist() == [i % 7 for i in range(20)]
    assert integers(table.combine_chunks().slice(5, 9), "n_tokens").tolist() == [i * 31 for i in range(5, 14)]
    assert integers(PROVENANCE_SCHEMA.empty_table(), "row").tolist() == []
    assert integers(table.combine_chunks(), "n_tokens").dtype == np.int32


@pytest.mark.parametrize("sources", [[None, None], ["a", "a"], ["b", None, "a", "b", "ü"], []])
def test_tables_are_what_arrow_makes(sources: list[str | None]) -> None:
    count = len(sources)
    digests = [bytes([i]) * 15 + b"\0" for i in range(count)]
    table = provenance_table("s", range(count), sources, range(count), digests)
    table.validate(full=True)
    assert table.to_pylist() == [
        {"shard": "s", "row": i, "source": source, "n_tokens": i, "text_xxh3_128": digests[i]}
        for i, source in enumerate(sources)
    ]


def test_digest() -> None:
    assert text_digest(b"") == xxhash.xxh3_128(b"").digest()
    # XXH3-128 of the empty input with seed 0, from the specification's test vectors.
    assert text_digest(b"").hex() == "99aa06d3014798d86001c324468d497f"
    assert np.frombuffer(text_digest("é".encode()), np.uint8).shape == (16,)


def test_rows_and_sizes_of_64_and_32_bits(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("a.jsonl", 2**40, None, 2**31 - 1, b"x" * 16),
        ("a.jsonl", 2**40 + 1, None, 0, b"y" * 16),
    ]
    reader = Provenance(write(tmp_path / "documents.parquet", rows))
    assert as_rows(next(reader.tables())) == rows
    assert reader.document_of("a.jsonl", 2**40 + 1) == 1
