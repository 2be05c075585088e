"""Check of the records of a directory: that what they name could be files in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pile_tools.errors import DataError
from pile_tools.formats.digest_files import DigestRecord
from pile_tools.formats.history import PARENTS_NAME
from pile_tools.formats.locations import LOCATIONS_NAME, parse_locations
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest
from pile_tools.formats.names import check_name
from pile_tools.formats.order_record import ORDER_NAME, parse_record
from pile_tools.formats.origins import ORIGINS_NAME, OriginsRecord
from pile_tools.formats.overlay import OVERLAY_NAME, OverlayRecord
from pile_tools.formats.provenance import PROVENANCE_NAME
from pile_tools.stages.dedup_tables import DEDUP_NAME, SKIPPED_NAME
from pile_tools.stages.dedup_write import INPUTS_NAME

__all__ = ["RECORDS", "TABLES", "check_records"]

RECORDS: Final[dict[str, Callable[[bytes, str], object]]] = {
    MANIFEST_NAME: Manifest.find_in,
    f"{PARENTS_NAME}/*/{MANIFEST_NAME}": Manifest.parse,
    ORDER_NAME: parse_record,
    f"*_{ORDER_NAME}": parse_record,
    f"orders/*{ORDER_NAME}": parse_record,
    "digests.json": DigestRecord.parse,
    "*_digests.json": DigestRecord.parse,
    OVERLAY_NAME: OverlayRecord.parse,
    ORIGINS_NAME: OriginsRecord.parse,
    LOCATIONS_NAME: parse_locations,
    INPUTS_NAME: parse_locations,
}
"""The records that a directory may hold, and the reader of each, which checks the names in it."""

TABLES: Final[dict[str, tuple[str, ...]]] = {
    PROVENANCE_NAME: ("shard",),
    f"added/{PROVENANCE_NAME}": ("shard",),
    "documents-*.parquet": ("shard",),
    DEDUP_NAME: ("shard", "duplicate_of_shard"),
    SKIPPED_NAME: ("shard",),
    f"{PARENTS_NAME}/*/removed.parquet": ("shard",),
}
"""The tables that a directory may hold, and their columns of names."""


def check_records(directory: Path) -> None:
    """Read every record and table of ``directory``; DataError for the first name that is not inside of it."""
    for pattern, parse in RECORDS.items():
        for path in sorted(directory.glob(pattern)):
            parse(path.read_bytes(), str(path))
    for pattern, columns in TABLES.items():
        for path in sorted(directory.glob(pattern)):
            _check_columns(path, columns)


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    try:
        with pq.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(columns=present):
                for column in batch.columns:
                    _check_column(column, str(path))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0]
        raise DataError(f"{path}: not readable ({reason}); make {path.parent} again") from None


def _check_column(column: Any, record: str) -> None:
    for name in pc.unique(column).to_pylist():
        if name is not None:
            check_name(name, record)
