"""Token datasets for tests, written with numpy alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools.formats.mmidx import write_index
from pile_tools.jobs.join_files import shard_name

GOLDEN = Path(__file__).parent / "golden"


def random_documents(seed: int, sizes: Sequence[int], dtype: str = "<u2") -> list[npt.NDArray[Any]]:
    generator = np.random.RandomState(seed)
    return [generator.randint(0, 60_000, size).astype(dtype) for size in sizes]


def write_dataset(
    directory: Path,
    documents: Sequence[npt.NDArray[Any]],
    *,
    prefix: str = "document",
    shard_bytes: int | None = None,
) -> Path:
    """Write a token dataset and return its prefix."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = documents[0].dtype
    write_index(directory / f"{prefix}.idx", dtype, np.array([len(document) for document in documents]))
    content = b"".join(document.tobytes() for document in documents)
    write_data(directory, prefix, content, shard_bytes)
    return directory / prefix


def write_data(directory: Path, prefix: str, content: bytes, shard_bytes: int | None) -> None:
    if shard_bytes is None:
        (directory / f"{prefix}.bin").write_bytes(content)
        return
    parts = [content[start : start + shard_bytes] for start in range(0, len(content), shard_bytes)]
    for number, part in enumerate(parts):
        (directory / shard_name(prefix, number, len(parts) - 1)).write_bytes(part)
