"""Arrow tables as Parquet files, whole or not at all."""

import os
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools.storage.atomic import atomic_write

__all__ = ["BATCH_SIZE_KEY", "FIRST_STEP_KEY", "STREAM_KEY", "write_table"]

# Metadata of tables that count by checkpoint: the step from which on they count and the sequences of a step,
# in decimal digits, and the identity of the stream.
FIRST_STEP_KEY: Final = b"pile_tools_first_step"
BATCH_SIZE_KEY: Final = b"pile_tools_batch_size"
STREAM_KEY: Final = b"pile_tools_stream"


def write_table(path: str | os.PathLike[str], table: pa.Table) -> None:
    """Write ``table`` to the Parquet file ``path``."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")
