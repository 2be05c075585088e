"""Remove near-duplicate documents from a corpus, in bounded memory and in resumable tasks."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from pile_tools import __version__
from pile_tools.algorithms.text.unicode_data import UNICODE_VERSION
from pile_tools.corpus.shard_copy import check_copy
from pile_tools.corpus.shards import Corpus, Shard, find_corpus, with_parents
from pile_tools.errors import DefectError, ParameterError
from pile_tools.formats.locations_json import INPUTS_NAME, LOCATIONS_NAME
from pile_tools.formats.parents import PARENTS_NAME, carry_history
from pile_tools.jobs.executor import TaskPool
from pile_tools.jobs.machine import default_workers, memory_bytes
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.jobs.workspace import InputFile, Workspace
from pile_tools.stages.dedup.against import find_against
from pile_tools.stages.dedup.job import DedupJob
from pile_tools.stages.dedup.phases import DedupRun
from pile_tools.stages.dedup.pile_dedupe import load_word_tokenizer
from pile_tools.stages.dedup.report import count_everything
from pile_tools.stages.dedup.tables import DEDUP_NAME, SKIPPED_NAME
from pile_tools.stages.dedup.work_files import CorpusFiles, DedupPaths, read_info
from pile_tools.stages.dedup.workers import start_workers
from pile_tools.stages.dedup.write import Written
from pile_tools.stages.skipped_records import ANY_SHARE
from pile_tools.storage.free_space import space_warning
from pile_tools.storage.manifest import MANIFEST_NAME, UNFINISHED_NAME, FileEntry, Manifest, file_entry

__all__ = ["dedup", "task_budget"]

_PROCESS_BYTES = 200 << 20  # Python, NumPy, Arrow, the compiled kernels, one batch of text
_LEAST_MEMORY = 2 * _PROCESS_BYTES
_LEAST_BUDGET = 32 << 20
# Names of tables and records that a directory may hold beside its shards.
_RESERVED = (
    DEDUP_NAME,
    SKIPPED_NAME,
    MANIFEST_NAME,
    LOCATIONS_NAME,
    INPUTS_NAME,
    "croissant.json",
    "*order.json",
    "*digests.json",
    "overlay.json",
    "origins.json",
    f"{PARENTS_NAME}/*.json",
)


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
        raise DefectError(
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


def _check_names(shards: Sequence[Shard]) -> None:
    """Raise ParameterError where two shards, or a shard and a record, would be written under one name."""
    names: dict[str, Shard] = {}
    for shard in shards:
        name = shard.kept_name
        if any(fnmatchcase(name, pattern) for pattern in _RESERVED):
            raise ParameterError(
                f"{shard.path}: a shard of this name would collide with the table or record {name}; rename it"
            )
        other = names.setdefault(name, shard)
        if other is not shard:
            raise ParameterError(
                f"{other.path} and {shard.path}: what is kept of both would be called {name}; rename one"
            )


def dedup(
    inputs: Sequence[str | os.PathLike[str]] | Corpus,
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

    ``inputs`` are files, directories and patterns, or what `find_corpus` makes of them.

    What is like a document in one of the directories ``against``, which an earlier call made, is a
    duplicate too. Their text is not read where they hold the signatures that ``job`` would make.

    ``output`` gets a shard for each input shard, under its `Shard.kept_name`, ``dedup.parquet`` with a row
    for each removed document, and ``manifest.json``. A run that was stopped is resumed by the same call; a
    finished one is left as it is. No byte depends on ``workers`` (processes, default one for each
    core) or ``memory`` (bytes, default half of the machine's or
    the cgroup's).

    ``warn`` is called with a line where the free space of the disk may not suffice.

    Where more than the share ``max_skipped`` of the records is skipped, nothing is written; a call with a
    larger one goes on with what was read.

    Raises ParameterError for a memory too small, OccupiedError where the directory holds something
    else, BusyError where another run is at work in it, EmptyError for a corpus without documents, DataError
    for damaged input, ChangedError for an input that changes meanwhile, RecordsError for records that are no
    documents, UnfinishedError where the same call can go on later.
    """
    output = Path(output)
    if against and job.method == "pile-dedupe":
        raise ParameterError("--preset pile-dedupe knows no other corpus: leave out --against")
    if job.method == "pile-dedupe":
        load_word_tokenizer()
    corpus = (
        inputs
        if isinstance(inputs, Corpus)
        else find_corpus(inputs, leave_out=output, text_field=job.text_field)
    )
    start_workers(corpus, workers)
    shards = corpus.shards
    _check_names(shards)
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
        check_copy(shard)
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
