"""Row groups of documents.parquet that give other rows than they say, as old pyarrow reads some damage."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools.errors import DataError
from pile_tools.formats.documents_parquet import Provenance, ProvenanceWriter, provenance_table


@pytest.mark.parametrize("rows_read", [0, 2, 4])
def test_rows_that_are_missing_are_an_error_and_not_other_documents(
    rows_read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "documents.parquet"
    with path.open("wb") as file, ProvenanceWriter(file) as writer:
        writer.write(provenance_table("a.jsonl", range(3), ["Web"] * 3, [5, 6, 7], [bytes(16)] * 3))
    read, rows = pq.ParquetFile.read_row_group, pa.array([0, 1, 2, 2][:rows_read], pa.int64())
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda *arguments, **options: read(*arguments, **options).take(rows)
    )
    message = rf"documents\.parquet: not a readable .* \(row group 0 holds {rows_read} rows, not 3\)"
    with pytest.raises(DataError, match=message):
        Provenance(path).lookup([0])
    with pytest.raises(DataError, match=message):
        list(Provenance(path).tables())
