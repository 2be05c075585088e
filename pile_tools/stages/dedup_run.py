"""The phases of a deduplication, each a list of tasks.

sign      read each shard: band keys and a hash of its words for each document
group     sort the keys, range by range: documents with the same words, and buckets of candidates
sets      read the candidates again and write their sets of shingles
verify    compare candidates by their exact similarity
decide    components, the document of each that stays, and a partner for each that does not
write     copy what stays, record by record as it stands
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from pile_tools.errors import PileToolsError
from pile_tools.formats.corpus import Shard
from pile_tools.formats.npy import NpyFile
from pile_tools.stages.dedup_against import Against, copy_saved_sets, sign_saved
from pile_tools.stages.dedup_decide import (
    LINKED_KINDS,
    decide,
    decide_last_stays,
    link_documents,
    nearest_pairs,
    partner_pairs,
)
from pile_tools.stages.dedup_files import CorpusFiles, read_info
from pile_tools.stages.dedup_group import (
    BAND_BYTES,
    SAME_BYTES,
    group_band,
    group_same,
    mark_candidates,
    mark_passed_over,
)
from pile_tools.stages.dedup_job import DedupJob
from pile_tools.stages.dedup_sets import SET_KINDS, write_sets
from pile_tools.stages.dedup_sign import sign_shard, signed_outputs
from pile_tools.stages.dedup_tables import DEDUP_NAME, SKIPPED_NAME, write_removed, write_skipped
from pile_tools.stages.dedup_verify import (
    label_components,
    n_ranges,
    verify_asked,
    verify_cross,
    verify_star,
)
from pile_tools.stages.dedup_workers import SMALL_BYTES
from pile_tools.stages.dedup_write import Written, write_inputs, write_kept
from pile_tools.stages.executor import Progress, Task, TaskPool
from pile_tools.stages.skipped_records import SkippedRecords, check_skipped

__all__ = ["DedupRun"]

# A pool of processes takes a second to start: small work is done sooner without it.
_SMALL_DOCUMENTS = 1 << 18
_LARGE_DOCUMENTS = 1 << 22


@dataclass
class DedupRun:
    """One deduplication under way. ``memory`` and ``budget``: bytes that all of it and
    that one task may hold; ``max_skipped``: the share of the records that may be skipped."""

    job: DedupJob
    against: list[Against]
    shards: list[Shard]  # those of the other corpora first
    output: Path
    files: CorpusFiles
    pool: TaskPool
    memory: int
    budget: int
    max_skipped: Fraction
    progress: Progress

    def _tasks(self, label: str, tasks: Sequence[Task], *, small: bool) -> None:
        large = not small and self.files.documents > _LARGE_DOCUMENTS
        self.pool.run(tasks, label=label, progress=self.progress, in_process=small, apart=large)

    def _shard_tasks(self, label: str, tasks: Sequence[Task]) -> None:
        small = sum(task.weight for task in tasks) < SMALL_BYTES
        self.pool.run(tasks, label=label, progress=self.progress, in_process=small)

    def _weight(self, index: int) -> int:
        files = self.against[index].inputs() if index < len(self.against) else [self.shards[index]]
        return sum(file.path.stat().st_size for file in files)

    def _saved(self, index: int) -> Against | None:
        """The saved signatures that stand for the text of a shard, if any do."""
        return self.against[index] if index < len(self.against) and self.against[index].saved else None

    def _parts(self, bytes_each: int) -> int:
        return max(1, -(-self.files.documents * bytes_each // self.budget))

    def sign(self) -> None:
        paths = self.files.paths
        tasks = []
        for index, shard in enumerate(self.shards):
            saved = self._saved(index)
            tasks.append(
                Task(
                    shard.name,
                    sign_shard if saved is None else sign_saved,
                    (saved or shard, self.job, paths, index),
                    signed_outputs(self.job, paths, index, own=index >= len(self.against)),
                    self._weight(index),
                )
            )
        self._shard_tasks("sign", tasks)

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
        files = self.files
        mark_candidates(files, self.job.bands.bands, band_parts)
        self._shard_tasks("sets", self._set_tasks())

    def _set_tasks(self) -> list[Task]:
        files, paths = self.files, self.files.paths
        candidates = NpyFile.open(paths.candidates)
        tasks = []
        for index, shard in enumerate(self.shards):
            own = candidates.read(int(files.starts[index]), int(files.starts[index + 1]))
            some = self.job.save_signatures or bool(own.any())
            saved = self._saved(index)
            tasks.append(
                Task(
                    shard.name,
                    write_sets if saved is None else copy_saved_sets,
                    (saved or shard, self.job, files, index),
                    tuple(paths.sets(kind, index) for kind in SET_KINDS),
                    self._weight(index) if some else 1,
                )
            )
        return tasks

    def _verify(self, round_: str, tasks: list[Task]) -> list[Path]:
        small = self.files.documents < _SMALL_DOCUMENTS // 8
        self._tasks(f"verify {round_}", tasks, small=small)
        return [task.outputs[0] for task in tasks]

    def verify(self, band_parts: int) -> list[Path]:
        """Return the files of the verified pairs that tie documents together."""
        files, job, paths = self.files, self.job, self.files.paths
        ranges = n_ranges(files.documents)
        bands = job.bands.bands
        star = self._verify(
            "star",
            [
                Task(
                    f"star {i}",
                    verify_star,
                    (files, job, band_parts, i, self.budget),
                    (paths.edges("star", i, ranges),),
                )
                for i in range(ranges)
            ],
        )
        self._decision("labels", label_components, (files, len(star)), (paths.labels,))
        cross = self._verify(
            "cross",
            [
                Task(
                    f"cross {band} part {part}",
                    verify_cross,
                    (files, job, band, part, band_parts, self.budget),
                    (paths.edges("cross", band * band_parts + part, bands * band_parts),),
                )
                for band in range(bands)
                for part in range(band_parts)
            ],
        )
        return [*star, *cross]

    def decide(self, same_parts: int, band_parts: int) -> None:
        files, job, paths = self.files, self.job, self.files.paths
        edges: list[Path] = []
        if job.method != "text":
            if job.verify == "exact" or job.save_signatures:
                self.sets(band_parts)
            if job.verify == "exact":
                edges = self.verify(band_parts)
            else:
                edges = [
                    paths.band("star", band, part, band_parts)
                    for band in range(job.bands.bands)
                    for part in range(band_parts)
                ]
        kept = tuple(paths.linked(kind) for kind in LINKED_KINDS)
        self._decision("link", link_documents, (files, job.keep, same_parts, edges, self.memory), kept)
        if job.method == "pile-dedupe":
            self._decision("decide", decide_last_stays, (files, edges), (paths.decision,))
            return
        partners: list[Path] = []
        if job.verify == "exact" and job.method != "text":
            self._decision("ask", partner_pairs, (files,), (paths.asked("partner"),))
            partners = self._verify_asked("partner")
            self._decision("near", nearest_pairs, (files, partners), (paths.asked("nearest"),))
            edges = [*edges, *self._verify_asked("nearest")]
        self._decision("decide", decide, (files, job, edges, partners), (paths.decision,))

    def _verify_asked(self, round_: str) -> list[Path]:
        """Return the files of those pairs that the decision asks about which reach the threshold."""
        files, paths = self.files, self.files.paths
        ranges = n_ranges(len(NpyFile.open(paths.asked(round_))))
        return self._verify(
            round_,
            [
                Task(
                    f"{round_} {i}",
                    verify_asked,
                    (files, self.job, round_, i, self.budget),
                    (paths.edges(round_, i, ranges),),
                )
                for i in range(ranges)
            ],
        )

    def _decision(
        self, label: str, function: Callable[..., None], arguments: tuple[Any, ...], outputs: tuple[Path, ...]
    ) -> None:
        small = self.files.documents < _SMALL_DOCUMENTS
        self._tasks(label, [Task(label, function, arguments, outputs)], small=small)

    def write(self) -> None:
        files, paths = self.files, self.files.paths
        tasks = []
        for index in range(files.n_against_shards, len(self.shards)):
            shard = self.shards[index]
            arguments = (shard, self.job, files, index, self.output)
            written = paths.written(index)
            # What an earlier run wrote may be gone since: then it is not done.
            if written.exists() and not all(
                entry.is_in(self.output) for entry in Written.read(written).entries
            ):
                written.unlink()
            tasks.append(Task(shard.name, write_kept, arguments, (written,), self._weight(index)))
        self._shard_tasks("write", tasks)
        names = [shard.name for shard in self.shards]
        write_removed(files, names, self.output / DEDUP_NAME)
        write_inputs(self.shards, self.output)
        if self.job.on_bad_record == "skip":
            write_skipped(files, names, self.output / SKIPPED_NAME)

    def _has_rows(self) -> bool:
        """Whether there is a document, or a record that is none: oversized, or skipped."""
        infos = (read_info(self.files.paths.info(index)) for index in range(len(self.shards)))
        return any(info["documents"] or info["rows"] > info["blank_lines"] for info in infos)

    def _check_skipped(self) -> None:
        own = range(self.files.n_against_shards, len(self.shards))
        infos = [read_info(self.files.paths.info(index)) for index in own]
        check_skipped(
            (
                SkippedRecords(
                    info["documents"] + info["skipped_records"] + info["oversized_records"],
                    info["skipped_records"],
                    info["first_skipped"],
                )
                for info in infos
            ),
            self.max_skipped,
        )

    def run(self) -> None:
        self.files.paths.make()
        self.sign()
        self._check_skipped()
        if not self._has_rows():
            self.files.paths.remove()
            raise PileToolsError(
                f"{self.shards[0].path}: no documents in the {len(self.shards)} shard(s) given"
            )
        self.decide(*self.group())
        self.write()
