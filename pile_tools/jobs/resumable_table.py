"""A Parquet file made in parts, so that what was computed is kept when the run ends early.

While ``NAME`` is made there is a directory ``NAME.unfinished`` beside it with a part for some steps each. The
finished file carries its manifest in its metadata, under the key ``pile_tools``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pile_tools import __version__
from pile_tools.errors import DataError, MissingFileError, OccupiedError, PileToolsError
from pile_tools.jobs.executor import Task, run_tasks
from pile_tools.jobs.progress import Progress
from pile_tools.jobs.workspace import Workspace
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import canonical_json
from pile_tools.storage.outputs import refuse_output
from pile_tools.storage.records import fields, one_of, read_json, section, text

__all__ = ["METADATA_KEY", "Part", "make_table", "read_description", "step_parts", "write_table"]

METADATA_KEY: Final = b"pile_tools"
_FORMAT: Final = "pile-tools study 1"
_REMEDY: Final = "name the table that the study wrote, or make it again"
_DESCRIPTION: Final = fields(
    {"format": one_of([_FORMAT]), "study": text(), "parameters": section({})},
    absent={"version": text()},
)


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
    in ``workers`` processes. Raises OccupiedError where ``output`` is something else.
    """
    content = canonical_json(
        {"format": _FORMAT, "study": study, "parameters": dict(parameters), "version": __version__}
    )
    space = Workspace(
        output.with_name(f"{output.name}.unfinished"),
        stage=study,
        parameters=parameters,
        inputs=[],
        versions={"pile-tools": __version__},
    )
    if _is_finished(output, content):
        _discard_left(space)
        return False
    refuse_output(output)
    if output.parent.exists() and not output.parent.is_dir():
        raise OccupiedError(f"{output.parent}: not a directory; name another file with `-o`")
    with space:
        if _is_finished(output, content):  # by a run that has just ended
            space.discard()
            return False
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


def _is_finished(output: Path, content: bytes) -> bool:
    """Return whether ``output`` is the table that ``content`` describes; OccupiedError for another file."""
    if not output.exists():
        return False
    if read_description(output) == orjson.loads(content):
        return True
    raise OccupiedError(f"{output}: already there, and of another job; name another file with `-o`")


def _discard_left(space: Workspace) -> None:
    """Remove what a run left beside the finished table that was killed at its very end."""
    if space.directory.exists():
        with suppress(PileToolsError, OSError), space:
            space.discard()


def _join(parts: Sequence[Part], output: Path, content: bytes) -> None:
    with atomic_write(output) as file:
        writer: pq.ParquetWriter | None = None
        for part in parts:
            table = pq.read_table(part.path, page_checksum_verification=True)
            if writer is None:
                schema = table.schema.with_metadata({METADATA_KEY: content})
                writer = pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True)
            writer.write_table(table.replace_schema_metadata({METADATA_KEY: content}))
        if writer is not None:
            writer.close()


def write_table(table: pa.Table, path: Path) -> None:
    """Write a part, whole or not at all."""
    with atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def read_description(path: Path) -> dict[str, Any]:
    """Return what the metadata of a study's file says; DataError for any other file."""
    try:
        content = (pq.read_schema(path).metadata or {})[METADATA_KEY]
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError, KeyError, ValueError):
        raise DataError(f"{path}: not a table of a study of pile-tools; {_REMEDY}") from None
    description: dict[str, Any] = read_json(
        content, str(path), _DESCRIPTION, "a table of a study of pile-tools", _REMEDY
    )
    return description


def step_parts(start: int, stop: int, steps: int) -> Iterator[tuple[int, int]]:
    """Cut [start, stop) at multiples of ``steps``, so that ranges that overlap have parts in common."""
    while start < stop:
        end = min(stop, (start // steps + 1) * steps)
        yield start, end
        start = end
