"""A Parquet file made in parts, so that what was computed is kept when the run ends early.

While ``NAME`` is made there is a directory ``NAME.unfinished`` beside it with a part for some steps each. The
finished file carries its manifest in its metadata, under the key ``pile_tools``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools import __version__
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.outputs import refuse_output
from pile_tools.stages.executor import Progress, Task, run_tasks
from pile_tools.stages.workspace import Workspace

__all__ = ["METADATA_KEY", "Part", "make_table", "read_description", "step_parts", "write_table"]

METADATA_KEY: Final = b"pile_tools"
_FORMAT: Final = "pile-tools study 1"


@dataclass(frozen=True, slots=True)
class Part:
    """Steps [start, stop), and the file that holds their rows."""

    start: int
    stop: int
    path: Path


def make_table(
    output: Path,
    *,
    study: str,
    parameters: Mapping[str, Any],
    parts: Sequence[tuple[int, int]],
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    workers: int,
    progress: Progress,
) -> bool:
    """Make the Parquet file ``output`` of ``parts``; return False where the very same one was there.

    ``function(part, *arguments)`` writes ``part.path`` whole (``write_table``), and is module-level: it runs
    in ``workers`` processes. Raises PileToolsError where ``output`` is something else.
    """
    described = {"format": _FORMAT, "study": study, "parameters": dict(parameters), "version": __version__}
    content = canonical_json(described)
    if output.exists():
        if read_description(output) == orjson.loads(content):
            return False
        raise PileToolsError(f"{output}: already there, and of another job; name another file with `-o`")
    refuse_output(output)
    if output.parent.exists() and not output.parent.is_dir():
        raise PileToolsError(f"{output.parent}: not a directory; name another file with `-o`")
    space = Workspace(
        output.with_name(f"{output.name}.unfinished"),
        stage=study,
        parameters=parameters,
        inputs=[],
        versions={"pile-tools": __version__},
    )
    with space:
        made = [Part(start, stop, space.work / f"{start}-{stop}.parquet") for start, stop in parts]
        tasks = [
            Task(
                f"steps {part.start}:{part.stop}",
                function,
                (part, *arguments),
                (part.path,),
                part.stop - part.start,
            )
            for part in made
        ]
        run_tasks(tasks, workers=workers, label=study, progress=progress)
        _join(made, output, content)
        space.discard()
    return True


def _join(parts: Sequence[Part], output: Path, content: bytes) -> None:
    with atomic_write(output) as file:
        writer: pq.ParquetWriter | None = None
        for part in parts:
            table = pq.read_table(part.path)
            if writer is None:
                schema = table.schema.with_metadata({METADATA_KEY: content})
                writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
            writer.write_table(table.replace_schema_metadata({METADATA_KEY: content}))
        if writer is not None:
            writer.close()


def write_table(table: pa.Table, path: Path) -> None:
    """Write a part, whole or not at all."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_description(path: Path) -> dict[str, Any]:
    """Return what the metadata of a study's file says; DataError for any other file."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        value: dict[str, Any] = orjson.loads(metadata[METADATA_KEY])
        if value["format"] != _FORMAT:
            raise DataError(f"{path}: format {value['format']!r}, but this version reads {_FORMAT!r}")
    except FileNotFoundError:
        raise PileToolsError(f"{path}: no such file") from None
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a table of a study of pile-tools") from None
    return value


def step_parts(start: int, stop: int, steps: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) at multiples of ``steps``, so that ranges that overlap have parts in common."""
    while start < stop:
        end = min(stop, (start // steps + 1) * steps)
        yield start, end
        start = end
