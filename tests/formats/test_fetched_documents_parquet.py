"""Tables of some documents of a dataset, looked up by the numbers that they have there."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.errors import DataError, OutOfRangeError
from pile_tools.formats import documents_parquet as provenance
from pile_tools.formats.documents_parquet import ProvenanceWriter
from pile_tools.formats.fetched_documents_parquet import ORIGIN_SCHEMA, OriginDocuments


def write(path: Path, numbers: list[int]) -> None:
    columns = {
        "shard": pa.array([f"{number % 3}.jsonl" if number % 5 else None for number in numbers]),
        "row": pa.array([number * 7 if number % 5 else None for number in numbers], pa.int64()),
        "source": pa.array([["A", None][number % 2] for number in numbers], pa.string()),
        "n_tokens": pa.array([number + 1 for number in numbers], pa.int32()),
        "document": pa.array(numbers, pa.int64()),
    }
    arrays = [columns[field.name].cast(field.type) for field in ORIGIN_SCHEMA]
    with path.open("wb") as file, ProvenanceWriter(file, ORIGIN_SCHEMA) as writer:
        writer.write(pa.table(arrays, schema=ORIGIN_SCHEMA))


@settings(max_examples=60)
@given(numbers=st.sets(st.integers(0, 40)).map(sorted), wanted=st.lists(st.integers(0, 40), max_size=9))
def test_lookups(numbers: list[int], wanted: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "documents-0.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "ROW_GROUP_ROWS", 4)
        write(path, numbers)
    table = OriginDocuments(path)
    assert len(table) == len(numbers)
    missing = [number for number in wanted if number not in numbers]
    if missing:
        with pytest.raises(
            OutOfRangeError, match=f"document ({'|'.join(map(str, missing))}) is shown by none"
        ):
            table.lookup(wanted)
    known = [number for number in wanted if number in numbers]
    rows = table.lookup(known, ("document", "n_tokens", "shard", "source")).to_pylist()
    assert rows == [
        {
            "document": number,
            "n_tokens": number + 1,
            "shard": f"{number % 3}.jsonl" if number % 5 else None,
            "source": ["A", None][number % 2],
        }
        for number in known
    ]
    for number in range(41):
        found = table.document_of(f"{number % 3}.jsonl", number * 7)
        assert found == (number if number in numbers and number % 5 else None)


def test_a_table_without_statistics(tmp_path: Path) -> None:
    path = tmp_path / "documents-0.parquet"
    write(path, [1, 2])
    table = pq.read_table(path)
    pq.write_table(table.cast(ORIGIN_SCHEMA), path, write_statistics=False)
    with pytest.raises(DataError, match="no statistics of its documents; fetch the steps again"):
        OriginDocuments(path).lookup([1])
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match="not a readable Parquet file"):
        OriginDocuments(tmp_path / "x.npy")
