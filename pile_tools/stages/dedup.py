"""Remove near-duplicate documents from a corpus, in a fixed amount of memory and in resumable tasks.

sign      read each shard: a signature, its band keys and a hash of its words for each document
group     sort the keys, range by range: documents with the same words, and buckets of candidates
sets      read the shards that have candidates again and write the candidates' sets of shingles
verify    compare candidates by their exact similarity
decide    components, the document of each that stays, and a partner for each that does not
write     copy what stays, record by record as it stands
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from pile_tools import __version__
from pile_tools.algorithms.words import UNICODE_VERSION
from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.formats.corpus import Shard, list_shards
from pile_tools.formats.manifest import FileEntry, Manifest, file_entry
from pile_tools.formats.npy import NpyFile
from pile_tools.stages.dedup_decide import decide, decide_last_stays, link_documents, partner_pairs
from pile_tools.stages.dedup_files import CorpusFiles, DedupPaths, read_info
from pile_tools.stages.dedup_group import (
    BAND_BYTES,
    SAME_BYTES,
    group_band,
    group_same,
    mark_candidates,
    mark_passed_over,
)
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.dedup_report import count_everything
from pile_tools.stages.dedup_sets import SET_KINDS, write_sets
from pile_tools.stages.dedup_sign import sign_shard, signed_outputs
from pile_tools.stages.dedup_verify import (
    RANGE_DOCUMENTS,
    label_components,
    verify_cross,
    verify_partners,
    verify_star,
)
from pile_tools.stages.dedup_write import (
    DEDUP_NAME,
    SKIPPED_NAME,
    read_written,
    write_kept,
    write_removed,
    write_skipped,
)
from pile_tools.stages.executor import Progress, Task, TaskPool, default_workers, no_progress
from pile_tools.stages.pile_dedupe import load_word_tokenizer
from pile_tools.stages.workspace import InputFile, Workspace

__all__ = ["dedup", "default_memory"]

_PROCESS_BYTES = 200 << 20  # Python, NumPy, Arrow, the compiled kernels, one batch of text
_LEAST_BUDGET = 32 << 20
# A pool of processes takes a second or two to start: small work is done sooner without it.
_SMALL_BYTES = 16 << 20
_SMALL_DOCUMENTS = 1 << 18


def default_memory() -> int:
    """Half of the machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


@dataclass
class _Run:
    """One deduplication under way."""

    job: DedupJob
    shards: list[Shard]
    output: Path
    files: CorpusFiles
    pool: TaskPool
    budget: int
    progress: Progress

    def _tasks(self, label: str, tasks: Sequence[Task], *, small: bool) -> None:
        self.pool.run(tasks, label=label, progress=self.progress, in_process=small)

    def _shard_tasks(self, label: str, tasks: Sequence[Task]) -> None:
        self._tasks(label, tasks, small=sum(task.weight for task in tasks) < _SMALL_BYTES)

    def _weight(self, index: int) -> int:
        return self.shards[index].path.stat().st_size

    def _parts(self, bytes_each: int) -> int:
        return max(1, -(-self.files.documents * bytes_each // self.budget))

    def sign(self) -> None:
        paths = self.files.paths
        self._shard_tasks(
            "sign",
            [
                Task(
                    shard.name,
                    sign_shard,
                    (shard, self.job, paths, index),
                    signed_outputs(self.job, paths, index),
                    self._weight(index),
                )
                for index, shard in enumerate(self.shards)
            ],
        )

    def group(self) -> tuple[int, int]:
        """Return the numbers of ranges for documents with the same words and for bands."""
        files, paths = self.files, self.files.paths
        small = files.documents < _SMALL_DOCUMENTS
        # The scripts for the Pile match documents by their bands alone.
        same_parts = 0 if self.job.method == "pile-dedupe" else self._parts(SAME_BYTES)
        band_parts = self._parts(BAND_BYTES)
        same = [
            Task(f"same {part}", group_same, (files, part, same_parts), (paths.same(part, same_parts),))
            for part in range(same_parts)
        ]
        self._tasks("same", same, small=small)
        if self.job.method == "text":
            return same_parts, band_parts
        mark_passed_over(files, same_parts)
        kinds = ("star",) if self.job.verify == "none" else ("star", "members", "offsets")
        bands = [
            Task(
                f"band {band} part {part}",
                group_band,
                (files, self.job, band, part, band_parts),
                tuple(paths.band(kind, band, part, band_parts) for kind in kinds),
            )
            for band in range(self.job.bands.bands)
            for part in range(band_parts)
        ]
        self._tasks("group", bands, small=small)
        return same_parts, band_parts

    def sets(self, band_parts: int) -> None:
        files, paths = self.files, self.files.paths
        mark_candidates(files, self.job.bands.bands, band_parts)
        candidates = NpyFile.open(paths.candidates)
        tasks = []
        for index, shard in enumerate(self.shards):
            some = candidates.read(int(files.starts[index]), int(files.starts[index + 1])).any()
            outputs = tuple(paths.sets(kind, index) for kind in SET_KINDS)
            weight = self._weight(index) if some else 1
            tasks.append(Task(shard.name, write_sets, (shard, self.job, files, index), outputs, weight))
        self._shard_tasks("sets", tasks)

    def _verify(self, round_: str, tasks: list[Task]) -> list[Path]:
        small = self.files.documents < _SMALL_DOCUMENTS // 8
        self._tasks(f"verify {round_}", tasks, small=small)
        return [task.outputs[0] for task in tasks]

    def verify(self, band_parts: int) -> list[Path]:
        """Return the files of the verified pairs that tie documents together."""
        files, job, paths = self.files, self.job, self.files.paths
        star = self._verify(
            "star",
            [
                Task(
                    f"star {i}",
                    verify_star,
                    (files, job, band_parts, i, self.budget),
                    (paths.edges("star", i),),
                )
                for i in range(-(-files.documents // RANGE_DOCUMENTS))
            ],
        )
        label_components(files, len(star))
        cross = self._verify(
            "cross",
            [
                Task(
                    f"cross {band} part {part}",
                    verify_cross,
                    (files, job, band, part, band_parts, self.budget),
                    (paths.edges("cross", band * band_parts + part),),
                )
                for band in range(job.bands.bands)
                for part in range(band_parts)
            ],
        )
        return [*star, *cross]

    def decide(self, same_parts: int, band_parts: int) -> None:
        files, job, paths = self.files, self.job, self.files.paths
        edges: list[Path] = []
        if job.method != "text":
            if job.verify == "exact":
                self.sets(band_parts)
                edges = self.verify(band_parts)
            else:
                edges = [
                    paths.band("star", band, part, band_parts)
                    for band in range(job.bands.bands)
                    for part in range(band_parts)
                ]
        linked = link_documents(files, job.keep, same_parts, edges)
        if job.method == "pile-dedupe":
            decide_last_stays(files, linked, edges)
            return
        partners: list[Path] = []
        if job.verify == "exact" and job.method != "text":
            partner_pairs(files, linked)
            n = len(NpyFile.open(paths.partner_pairs))
            partners = self._verify(
                "partner",
                [
                    Task(
                        f"partner {i}",
                        verify_partners,
                        (files, job, i, self.budget),
                        (paths.edges("partner", i),),
                    )
                    for i in range(-(-n // RANGE_DOCUMENTS))
                ],
            )
        decide(files, job, linked, edges, partners)

    def write(self) -> None:
        files, paths = self.files, self.files.paths
        tasks = []
        for index in range(files.n_against_shards, len(self.shards)):
            shard = self.shards[index]
            target = self.output / shard.name
            outputs = (paths.written(index),)
            arguments = (shard, files, index, target)
            tasks.append(Task(shard.name, write_kept, arguments, outputs, self._weight(index)))
        self._shard_tasks("write", tasks)
        names = [shard.name for shard in self.shards]
        write_removed(files, names, self.output / DEDUP_NAME)
        if self.job.on_bad_record == "skip":
            write_skipped(files, names, self.output / SKIPPED_NAME)

    def run(self) -> None:
        self.files.paths.make()
        self.sign()
        if self.files.documents == 0:
            raise PileToolsError(
                f"{self.shards[0].path}: no documents in the {len(self.shards)} shard(s) given"
            )
        self.decide(*self.group())
        self.write()

    def manifest(self, inputs: Sequence[FileEntry], parameters: dict[str, object]) -> Manifest:
        files, paths = self.files, self.files.paths
        own = range(files.n_against_shards, len(self.shards))
        written = [read_written(paths.written(index))[0] for index in own]
        tables = [DEDUP_NAME, *([SKIPPED_NAME] if self.job.on_bad_record == "skip" else [])]
        outputs = [entry for entry in written if entry is not None]
        outputs += [file_entry(self.output / name) for name in tables]
        counts = count_everything(files, own)
        if counts["documents"] != counts["kept"] + counts["removed"]:
            raise PileToolsError(
                f"{self.output}: {counts['documents']} documents in, but {counts['kept']} kept and "
                f"{counts['removed']} removed; this is a defect of pile-tools"
            )
        documents = [read_info(paths.info(index))["documents"] for index in range(len(self.shards))]
        return Manifest(
            stage="dedup",
            parameters=parameters,
            inputs=[
                FileEntry(entry.name, entry.bytes, entry.sha256, count)
                for entry, count in zip(inputs, documents, strict=True)
            ],
            outputs=outputs,
            counts=counts,
            parents=sorted({shard.parent for shard in self.shards if shard.parent is not None}),
            versions=_versions(self.job),
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
    workers: int | None = None,
    memory: int | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Write the corpus ``inputs`` without its duplicates into the directory ``output``; return its manifest.

    ``output`` gets a shard for each input shard, under its name, ``dedup.parquet`` with a row for each
    removed document, and ``manifest.json``. A run that was stopped is resumed by the same call; a
    finished one is left as it is. No byte depends on ``workers`` (processes, default one for each
    core) or ``memory`` (bytes, default half of the machine's).

    Raises ParameterError for a memory too small, PileToolsError where the directory holds something
    else, DataError for damaged input, UnfinishedError where the same call can go on later.
    """
    output = Path(output)
    if job.method == "pile-dedupe":
        load_word_tokenizer()
    shards = list_shards(inputs)
    memory = default_memory() if memory is None else memory
    least = 2 * _PROCESS_BYTES
    if memory < least:
        raise ParameterError(f"memory of {memory} bytes: at least {least >> 20}M is needed")
    workers = max(1, min(workers or default_workers(), memory // least))
    budget = max(_LEAST_BUDGET, (memory - (workers + 1) * _PROCESS_BYTES) // workers)
    parameters = job.parameters()
    for shard in shards:
        if shard.name in (DEDUP_NAME, SKIPPED_NAME):
            raise ParameterError(
                f"{shard.path}: a shard of this name would collide with the table {shard.name}"
            )
    with Workspace(
        output,
        stage="dedup",
        parameters=parameters,
        inputs=[InputFile(shard.path, shard.name, shard.sha256) for shard in shards],
    ) as workspace:
        if workspace.finished is not None:
            return workspace.finished
        files = CorpusFiles(DedupPaths(workspace.work), len(shards))
        with TaskPool(workers) as pool:
            run = _Run(job, shards, output, files, pool, budget, progress)
            run.run()
        manifest = run.manifest(workspace.input_entries, parameters)
        workspace.finish(manifest)
    return manifest
