"""Check of the origins of fetched steps: records that contradict each other."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pile_tools import BatchViewer
from pile_tools.checks.checks import verify
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.documents_parquet import ProvenanceWriter
from pile_tools.formats.fetched_documents_parquet import ORIGIN_SCHEMA
from pile_tools.formats.order_json import OrderRecord, parse_record
from pile_tools.formats.origins_json import ORIGINS_NAME, OriginsRecord
from pile_tools.storage.manifest import Manifest, file_entry
from tests.fetched import everything, fetched, whole_stream
from tests.lookups.conftest import MakeStream


@pytest.fixture
def whole(make_stream: MakeStream) -> BatchViewer:
    return whole_stream(make_stream)


def rewrite(directory: Path, name: str, content: npt.NDArray[Any] | pa.Table) -> None:
    """Let the file hold something else, and every record name it as it is now."""
    path = directory / name
    if isinstance(content, pa.Table):
        with path.open("wb") as file, ProvenanceWriter(file, ORIGIN_SCHEMA) as writer:
            writer.write(content)
    else:
        np.save(path, content)
    record = OriginsRecord.parse((directory / ORIGINS_NAME).read_bytes(), "")
    files = tuple(file_entry(directory / entry.name) for entry in record.files)
    record = dataclasses.replace(record, files=files)
    (directory / ORIGINS_NAME).write_bytes(record.to_bytes())
    order = parse_record((directory / "order.json").read_bytes(), "")
    assert isinstance(order, OrderRecord)
    dataclasses.replace(order, origins=record.identity).write(directory / "order.json")
    manifest = Manifest.read(directory)
    outputs = [file_entry(directory / entry.name, entry.name) for entry in manifest.outputs]
    dataclasses.replace(manifest, outputs=outputs).write(directory)


def test_what_contradicts_itself_is_refused(whole: BatchViewer, tmp_path: Path) -> None:
    directory = tmp_path / "steps"
    fetched(whole, 3, 9, directory)
    findings = verify([directory])
    (finding,) = (finding for finding in findings if finding.check == "origins")
    assert finding.message.endswith("pieces of 7 documents")
    pieces, starts = np.load(directory / "pieces.npy"), np.load(directory / "piece_starts.npy")
    table = pq.read_table(directory / "documents-0.parquet").cast(ORIGIN_SCHEMA)
    last = table.num_rows - 1

    def with_value(row: int, column: int, value: int) -> npt.NDArray[np.int32]:
        changed = pieces.copy()
        changed[row, column] = value
        return changed

    for name, content, message in (
        ("pieces.npy", with_value(0, 2, pieces[0, 2] + 1), "pieces that are no sequences of 6 tokens"),
        ("pieces.npy", with_value(0, 0, -1), "pieces of no document"),
        ("pieces.npy", with_value(0, 1, -1), "pieces of no document"),
        ("pieces.npy", with_value(0, 3, -2), "pieces of no document"),
        ("pieces.npy", with_value(0, 0, 9), "document 9 of 9"),
        ("pieces.npy", pieces[:-1], "not the starts of"),
        ("piece_starts.npy", starts[:-1], "names arrays that are not of 12 sequences"),
        ("piece_starts.npy", np.concatenate([starts[:1], starts[:1], starts[2:]]), "not the starts of"),
        ("pieces.npy", pieces[:, :3].copy(), "names arrays that are not of 12 sequences"),
        ("pieces.npy", pieces.astype("<i8"), "not int32 in 2"),
        ("documents-0.parquet", table.slice(1), "is shown by none of the steps here"),
        ("documents-0.parquet", table.slice(0, last), "is shown by none of the steps here"),
    ):
        before = (directory / name).read_bytes()
        rewrite(directory, name, content)
        with pytest.raises(PileToolsError, match=message):
            everything(BatchViewer.open(directory))
        with pytest.raises(DataError):
            verify([directory])
        (directory / name).write_bytes(before)
        rewrite(directory, "pieces.npy", pieces)
    assert len(verify([directory])) == len(findings)
