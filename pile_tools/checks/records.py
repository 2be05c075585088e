"""Check of the records of a directory: that what they name could be files in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa

from pile_tools.formats.digests_npy import DigestRecord
from pile_tools.formats.documents_parquet import PROVENANCE_NAME, PROVENANCE_SCHEMA
from pile_tools.formats.fetched_documents_parquet import ORIGIN_SCHEMA
from pile_tools.formats.locations_json import INPUTS_NAME, LOCATIONS_NAME, parse_locations
from pile_tools.formats.order_json import ORDER_NAME, parse_record
from pile_tools.formats.origins_json import ORIGINS_NAME, OriginsRecord
from pile_tools.formats.overlay_json import OVERLAY_NAME, OverlayRecord
from pile_tools.formats.parents import PARENTS_NAME, REMOVED_SCHEMA
from pile_tools.formats.tables import check_names, check_values, open_table, readable
from pile_tools.stages.dedup.tables import DEDUP_NAME, DEDUP_SCHEMA, SKIPPED_NAME, SKIPPED_SCHEMA
from pile_tools.storage.manifest import MANIFEST_NAME, Manifest

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

TABLES: Final[dict[str, pa.Schema]] = {
    PROVENANCE_NAME: PROVENANCE_SCHEMA,
    f"added/{PROVENANCE_NAME}": PROVENANCE_SCHEMA,
    "documents-*.parquet": ORIGIN_SCHEMA,
    DEDUP_NAME: DEDUP_SCHEMA,
    SKIPPED_NAME: SKIPPED_SCHEMA,
    f"{PARENTS_NAME}/*/removed.parquet": REMOVED_SCHEMA,
}
"""The tables that a directory may hold, and the columns of each."""

_NAMES: Final = ("shard", "duplicate_of_shard")


def check_records(directory: Path) -> None:
    """Read every record and table of ``directory``; DataError for damage and names that lead out of it."""
    for pattern, parse in RECORDS.items():
        for path in sorted(directory.glob(pattern)):
            parse(path.read_bytes(), str(path))
    for pattern, schema in TABLES.items():
        for path in sorted(directory.glob(pattern)):
            _check_table(path, schema)


def _check_table(path: Path, schema: pa.Schema) -> None:
    """Read a table; DataError for damage, and for a name in it that is not inside of a directory."""
    remedy = f"make {path.parent} again"
    with open_table(path, schema, str(path), remedy) as file:
        columns = [name for name in _NAMES if name in schema.names]
        batches = file.iter_batches(columns=schema.names)
        while True:
            with readable(str(path), remedy):
                batch = next(batches, None)
            if batch is None:
                return
            table = pa.Table.from_batches([batch])
            check_values(table, schema, str(path), remedy)
            check_names(table, columns, str(path))
