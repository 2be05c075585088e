"""Arrow tables as Parquet files, whole or not at all."""

import os
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.formats.atomic import atomic_write

__all__ = ["FIRST_STEP_KEY", "write_table"]

# Metadata of tables that count by checkpoint: the step, in decimal digits, from which on they count.
FIRST_STEP_KEY: Final = b"pile_tools_first_step"


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write ``table`` to the Parquet file ``path``."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")
