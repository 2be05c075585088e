"""Write what a deduplication leaves of each shard."""

import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pile_tools.errors import PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard
from pile_tools.formats.manifest import FileEntry, canonical_json, file_entry
from pile_tools.formats.names import path_inside
from pile_tools.formats.npy import NpyFile
from pile_tools.formats.shard_copy import copy_rows
from pile_tools.stages.dedup_against import save_signatures
from pile_tools.stages.dedup_files import CorpusFiles, read_info
from pile_tools.stages.dedup_job import DedupJob

__all__ = ["INPUTS_NAME", "Written", "write_inputs", "write_kept"]

INPUTS_NAME = "inputs.json"
"""Where the inputs were, as paths relative to the output directory: a help to people, and in no manifest."""


def _removed_of_shard(files: CorpusFiles, index: int) -> NDArray[np.bool_]:
    start, stop = int(files.starts[index]), int(files.starts[index + 1])
    file = NpyFile.open(files.paths.decision)

    def document(row: int) -> int:
        return int(file.read(row, row + 1)["document"][0])

    low, high = (bisect_left(range(len(file)), bound, key=document) for bound in (start, stop))
    removed = np.zeros(stop - start, dtype=np.bool_)
    removed[file.read(low, high)["document"] - start] = True
    return removed


def _count_sources(
    files: CorpusFiles, index: int, sources: list[str | None], removed: NDArray[np.bool_]
) -> list[tuple[str | None, list[int]]]:
    """Each source of a shard, None for no source, with its documents, removed, bytes and removed bytes."""
    counts: dict[str | None, list[int]] = {}
    for first, piece in files.read_documents(index):
        start = first - int(files.starts[index])
        gone = removed[start : start + len(piece)]
        for number in np.unique(piece["source"]).tolist():
            own = piece["source"] == number
            sums = counts.setdefault(sources[number], [0, 0, 0, 0])
            sums[0] += int(own.sum())
            sums[1] += int((own & gone).sum())
            sums[2] += int(piece["bytes"][own].sum())
            sums[3] += int(piece["bytes"][own & gone].sum())
    return list(counts.items())


def write_kept(shard: Shard, job: DedupJob, files: CorpusFiles, index: int, output: Path) -> None:
    """Write the shard without its removed documents into ``output``, and a record of what was written.

    Removed documents and skipped records are left out, and nothing else: the tables that list them say
    all that is needed to find where a row was before.
    """
    info = read_info(files.paths.info(index))
    removed = _removed_of_shard(files, index)
    rows = files.gather(np.arange(files.starts[index], files.starts[index + 1]), "row")
    keep = np.ones(info["rows"], dtype=np.bool_)
    keep[np.array([row for row, _ in info["skipped"]], dtype=np.int64)] = False
    keep[rows[removed]] = False
    target = path_inside(output, shard.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    copied = copy_rows(shard, keep, target)
    kept = len(removed) - int(removed.sum())
    if copied != kept + info["oversized_records"] + info["blank_lines"]:
        raise PileToolsError(
            f"{target}: {copied} rows written, but {kept} documents, {info['oversized_records']} records too "
            f"large to compare and {info['blank_lines']} blank lines were to be kept; this is a defect of "
            "pile-tools"
        )
    # A .txt shard whose one document was removed is no file.
    entries = [file_entry(target, shard.name, copied - info["blank_lines"])] if target.exists() else []
    if job.save_signatures:
        new_rows = np.where(removed, -1, np.cumsum(keep)[rows] - 1)
        for path in save_signatures(files, job, index, shard.name, output, new_rows):
            entries.append(file_entry(path, path.relative_to(output).as_posix()))
    record = {
        "entries": [entry.to_json() for entry in entries],
        "kept": kept,
        "removed": int(removed.sum()),
        "sources": _count_sources(files, index, info["sources"], removed),
    }
    with atomic_write(files.paths.written(index)) as file:
        file.write(canonical_json(record))


@dataclass(frozen=True, slots=True)
class Written:
    """What ``write_kept`` recorded. ``sources``: name, [documents, removed, bytes, removed bytes]."""

    entries: list[FileEntry]
    kept: int
    removed: int
    sources: list[tuple[str | None, list[int]]]

    @classmethod
    def read(cls, path: Path) -> Self:
        value = read_info(path)
        entries = [FileEntry.from_json(entry, str(path)) for entry in value["entries"]]
        return cls(entries, value["kept"], value["removed"], value["sources"])


def write_inputs(shards: list[Shard], output: Path) -> None:
    """Write ``inputs.json``."""
    where = {shard.name: os.path.relpath(shard.path, output) for shard in shards}
    with atomic_write(output / INPUTS_NAME) as file:
        file.write(canonical_json(where))
