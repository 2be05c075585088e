"""Remove near-duplicate documents from a corpus, in bounded memory and in resumable tasks."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from pile_tools import __version__
from pile_tools.algorithms.unicode_data import UNICODE_VERSION
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.corpus import UNFINISHED_NAME, find_corpus, with_parents
from pile_tools.formats.free_space import space_warning
from pile_tools.formats.history import carry_history
from pile_tools.formats.machine import default_workers, memory_bytes
from pile_tools.formats.manifest import FileEntry, Manifest, file_entry
from pile_tools.formats.parquet_copy import check_columns
from pile_tools.stages.dedup_against import find_against
from pile_tools.stages.dedup_files import CorpusFiles, DedupPaths, read_info
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.dedup_report import count_everything
from pile_tools.stages.dedup_run import DedupRun
from pile_tools.stages.dedup_tables import DEDUP_NAME, SKIPPED_NAME
from pile_tools.stages.dedup_workers import start_workers
from pile_tools.stages.dedup_write import Written
from pile_tools.stages.executor import Progress, TaskPool, no_progress
from pile_tools.stages.pile_dedupe import load_word_tokenizer
from pile_tools.stages.skipped_records import ANY_SHARE
from pile_tools.stages.workspace import InputFile, Workspace

__all__ = ["dedup", "task_budget"]

_PROCESS_BYTES = 200 << 20  # Python, NumPy, Arrow, the compiled kernels, one batch of text
_LEAST_MEMORY = 2 * _PROCESS_BYTES
_LEAST_BUDGET = 32 << 20


def task_budget(memory: int, workers: int) -> int:
    """Bytes that one task of ``workers`` at a time may hold, so that all processes stay within ``memory``."""
    return max(_LEAST_BUDGET, (memory - (workers + 1) * _PROCESS_BYTES) // workers)


def _manifest(
    run: DedupRun,
    inputs: Sequence[FileEntry],
    passed_over: dict[str, int],
    parameters: dict[str, object],
    versions: dict[str, str],
) -> Manifest:
    files, paths = run.files, run.files.paths
    own = range(files.n_against_shards, len(run.shards))
    outputs = [entry for index in own for entry in Written.read(paths.written(index)).entries]
    tables = [DEDUP_NAME, *([SKIPPED_NAME] if run.job.on_bad_record == "skip" else [])]
    outputs += [file_entry(run.output / name) for name in tables]
    outputs += [file_entry(run.output / name, name) for name in carry_history(run.shards, run.output)]
    counts = count_everything(files, own)
    if passed_over:
        counts["passed_over"] = passed_over
    if counts["documents"] != counts["kept"] + counts["removed"]:
        raise PileToolsError(
            f"{run.output}: {counts['documents']} documents in, but {counts['kept']} kept and "
            f"{counts['removed']} removed; this is a defect of pile-tools"
        )
    documents = {
        run.shards[index].name: read_info(paths.info(index))["documents"] for index in range(len(run.shards))
    }
    return Manifest(
        stage="dedup",
        parameters=parameters,
        inputs=with_parents(
            [replace(entry, documents=documents.get(entry.name)) for entry in inputs], run.shards
        ),
        outputs=outputs,
        counts=counts,
        parents=sorted({shard.parent for shard in run.shards if shard.parent is not None}),
        versions=versions,
    )


def _versions(job: DedupJob) -> dict[str, str]:
    """The releases that can change a byte of the outputs."""
    extra = {"nltk": version("nltk")} if job.method == "pile-dedupe" else {}
    return extra | {
        "datasketch": version("datasketch"),
        "numpy": np.__version__,
        "pile-tools": __version__,
        "pyarrow": pa.__version__,
        "python": platform.python_version(),
        "unicode": UNICODE_VERSION,
        "zstandard": zstandard.__version__,
    }


def dedup(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    job: DedupJob,
    *,
    against: Sequence[str | os.PathLike[str]] = (),
    max_skipped: Fraction = ANY_SHARE,
    workers: int | None = None,
    memory: int | None = None,
    progress: Progress = no_progress,
    warn: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Write the corpus ``inputs`` without its duplicates into the directory ``output``; return its manifest.

    What is like a document in one of the directories ``against``, which an earlier call made, is a
    duplicate too. Their text is not read where they hold the signatures that ``job`` would make.

    ``output`` gets a shard for each input shard, under its name, ``dedup.parquet`` with a row for each
    removed document, and ``manifest.json``. A run that was stopped is resumed by the same call; a
    finished one is left as it is. No byte depends on ``workers`` (processes, default one for each
    core) or ``memory`` (bytes, default half of the machine's or
    the cgroup's).

    ``warn`` is called with a line where the free space of the disk may not suffice.

    Where more than the share ``max_skipped`` of the records is skipped, nothing is written; a call with a
    larger one goes on with what was read.

    Raises ParameterError for a memory too small, PileToolsError where the directory holds something
    else, DataError for damaged input, RecordsError for records that are no documents, UnfinishedError
    where the same call can go on later.
    """
    output = Path(output)
    if against and job.method == "pile-dedupe":
        raise ParameterError("--preset pile-dedupe knows no other corpus: leave out --against")
    if job.method == "pile-dedupe":
        load_word_tokenizer()
    start_workers(inputs, workers, output)
    corpus = find_corpus(inputs, leave_out=output)
    shards = corpus.shards
    others = find_against([Path(directory) for directory in against], job, [shard.name for shard in shards])
    memory = memory_bytes() // 2 if memory is None else memory
    if memory < _LEAST_MEMORY:
        raise ParameterError(f"memory of {memory} bytes: at least {_LEAST_MEMORY >> 20}M is needed")
    workers = max(1, min(workers or default_workers(), memory // _LEAST_MEMORY))
    budget = task_budget(memory, workers)
    parameters, versions = job.parameters(), _versions(job)
    if others:
        parameters["against"] = list(dict.fromkeys(other.label for other in others))
    for shard in shards:
        if shard.name in (DEDUP_NAME, SKIPPED_NAME):
            raise ParameterError(
                f"{shard.path}: a shard of this name would collide with the table {shard.name}"
            )
        if shard.format == ".parquet":
            check_columns(shard.path)
    files_of_shards = [
        *(other.inputs() for other in others),
        *([InputFile(shard.path, shard.name, shard.sha256)] for shard in shards),
    ]

    def forget(changed: list[str]) -> bool:
        numbers = {
            number
            for number, files in enumerate(files_of_shards)
            if any(file.name in changed for file in files)
        }
        return DedupPaths(output / UNFINISHED_NAME).forget(numbers)

    with Workspace(
        output,
        stage="dedup",
        parameters=parameters,
        inputs=[file for files in files_of_shards for file in files],
        versions=versions,
        # What was made without an error holds no bad record that could have been skipped.
        like=[parameters | {"on_bad_record": "error"}] if job.on_bad_record == "skip" else [],
        forget=forget,
    ) as workspace:
        if workspace.finished is not None:
            return workspace.finished
        # What stays is at most what came in; the work files beside it are smaller.
        if warning := space_warning(output, sum(shard.path.stat().st_size for shard in shards)):
            warn(warning)
        shards = [*(other.shard for other in others), *shards]
        files = CorpusFiles(DedupPaths(workspace.work), len(shards), len(others))
        with TaskPool(workers, "forkserver") as pool:
            run = DedupRun(job, others, shards, output, files, pool, memory, budget, max_skipped, progress)
            run.run()
        manifest = _manifest(run, workspace.input_entries, corpus.passed_over, parameters, versions)
        workspace.finish(manifest)
    return manifest
