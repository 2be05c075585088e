"""Arrow tables as Parquet files, whole or not at all."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.formats.atomic import atomic_write

__all__ = ["write_table"]


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write ``table`` to the Parquet file ``path``."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")
