"""Another deduplicated corpus that a corpus is compared against, by its text or by its saved signatures."""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pile_tools.algorithms.unicode_data import UNICODE_VERSION
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.corpus import Shard, list_shards
from pile_tools.formats.documents import ReadCounts
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest
from pile_tools.formats.names import name_problem
from pile_tools.formats.npy import NpyFile, NpyWriter, write_npy
from pile_tools.formats.signatures import DOCUMENT, KINDS, SavedSignatures
from pile_tools.stages.dedup_files import CorpusFiles, DedupPaths
from pile_tools.stages.dedup_job import RULES, DedupJob
from pile_tools.stages.dedup_sets import SET_KINDS
from pile_tools.stages.dedup_sign import KeyWriter, write_info
from pile_tools.stages.workspace import InputFile

__all__ = ["Against", "copy_saved_sets", "find_against", "save_signatures", "sign_saved"]

_AT_ONCE = 1 << 14
_SETS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Against:
    """One shard of another deduplicated corpus; ``shard.name`` begins with ``label`` and a colon.

    ``saved``: the files under ``directory`` of its signatures, where they stand for its text; else none.
    """

    shard: Shard
    label: str
    directory: Path
    own_name: str
    saved: tuple[InputFile, ...]

    def inputs(self) -> list[InputFile]:
        """The files that are read."""
        return list(self.saved) or [InputFile(self.shard.path, self.shard.name, self.shard.sha256)]


def _saved_files(directory: Path, manifest: Manifest, own_name: str, name: str) -> tuple[InputFile, ...]:
    """The files of the signatures of a shard, with the hashes that ``manifest`` lists.

    Raises DataError for one that it does not list.
    """
    listed = {entry.name: entry.sha256 for entry in manifest.outputs}
    files = []
    for kind in KINDS:
        path = SavedSignatures.path(directory, own_name, kind)
        sha256 = listed.get(path.relative_to(directory).as_posix())
        if sha256 is None:
            raise DataError(
                f"{path}: not listed in {MANIFEST_NAME}; make {directory} again with `--save-signatures`"
            )
        files.append(InputFile(path, f"{name}.{kind}.npy", sha256))
    return tuple(files)


def _usable(manifest: Manifest, job: DedupJob) -> bool:
    """Whether the signatures that a manifest lists are those that ``job`` would make."""
    same = ("rules", "normalize", "ngram", "num_perm", "seed", "scheme", "method")
    wanted = job.parameters()
    return (
        bool(manifest.parameters.get("save_signatures"))
        and all(manifest.parameters.get(name) == wanted.get(name) for name in same)
        and manifest.versions.get("unicode") == UNICODE_VERSION
    )


def _label(name: str, names: Collection[str], labels: Collection[str]) -> str:
    """A label for a directory called ``name`` by which its shards have addresses of their own.

    It has no colon, so that an address tells where it ends. Where another directory of ``labels`` has it, or
    one of the corpus's own shards ``names`` begins with it and a colon, it is numbered: name-2, name-3 …
    """
    stem = name.replace(":", "-")
    label, n = stem, 1
    while label in labels or any(own.startswith(f"{label}:") for own in names):
        n += 1
        label = f"{stem}-{n}"
    return label


def _refuse_former_rules(directory: Path, manifest: Manifest) -> None:
    rules = manifest.parameters.get("rules")
    if manifest.parameters.get("method") == "minhash" and rules != RULES:
        raise PileToolsError(
            f"{directory}: deduplicated by rules {rules or 1} of what a word is, and this version has rules "
            f"{RULES}; deduplicate its corpus again with this version, or add that corpus to IN"
        )


def find_against(directories: list[Path], job: DedupJob, names: Collection[str]) -> list[Against]:
    """The shards of other deduplicated corpora, in their order; ``names`` are of the corpus's own shards.

    Raises ParameterError for a directory that is none, or whose last part another has too, PileToolsError for
    one that an earlier version made by other rules, and DataError where the manifest of one does not list
    signatures that it should hold.
    """
    shards_against: list[Against] = []
    directory_names: set[str] = set()
    labels: list[str] = []
    for directory in directories:
        name = directory.resolve().name
        manifest = Manifest.read(directory)
        if manifest.stage != "dedup":
            raise ParameterError(
                f"{directory}: made by `pile-tools {manifest.stage}`, not by `pile-tools dedup`"
            )
        if name in directory_names:
            raise ParameterError(f"{directory}: two directories called {name} to compare against; rename one")
        problem = name_problem(name, nested=False)
        if problem is not None:
            raise ParameterError(f"{directory}: a name {problem}, and tables hold it; rename the directory")
        _refuse_former_rules(directory, manifest)
        directory_names.add(name)
        labels.append(_label(name, names, labels))
        saved = _usable(manifest, job)
        if saved:
            entries = [entry for entry in manifest.outputs if entry.documents is not None]
            shards = [Shard(entry.path(directory), entry.name, manifest.identity) for entry in entries]
        else:
            shards = list_shards([directory])
        for shard in shards:
            named = shard.called(f"{labels[-1]}:{shard.name}")
            files = _saved_files(directory, manifest, shard.name, named.name) if saved else ()
            shards_against.append(Against(named, labels[-1], directory, shard.name, files))
    return shards_against


def sign_saved(against: Against, job: DedupJob, paths: DedupPaths, index: int) -> None:
    """Do for saved signatures what ``sign_shard`` does for text."""
    saved = SavedSignatures.open(against.directory, against.own_name, job.num_perm)
    with ExitStack() as stack:
        documents = stack.enter_context(
            NpyWriter(stack.enter_context(atomic_write(paths.documents(index))), DOCUMENT)
        )
        keys = KeyWriter(
            job,
            stack.enter_context(NpyWriter(stack.enter_context(atomic_write(paths.keys(index))), np.uint64)),
        )
        for start in range(0, len(saved.documents), _AT_ONCE):
            stop = min(start + _AT_ONCE, len(saved.documents))
            documents.append(saved.documents.read(start, stop))
            keys.append(saved.signatures.read(start, stop))
        keys.close()
    write_info(paths.info(index), ReadCounts(documents=len(saved.documents)))


def copy_saved_sets(against: Against, job: DedupJob, files: CorpusFiles, index: int) -> None:
    """Do for saved signatures what ``write_sets`` does for text."""
    saved = SavedSignatures.open(against.directory, against.own_name, job.num_perm)
    start, stop = int(files.starts[index]), int(files.starts[index + 1])
    chosen = np.flatnonzero(NpyFile.open(files.paths.candidates).read(start, stop))
    documents, offsets, values = (files.paths.sets(kind, index) for kind in SET_KINDS)
    write_npy(documents, chosen)
    _copy_sets(saved.offsets, saved.values, chosen, offsets, values)


def _copy_sets(
    offsets: NpyFile, values: NpyFile, chosen: NDArray[np.int64], to_offsets: Path, to_values: Path
) -> None:
    """Write the sets of documents ``chosen`` (ascending) end to end."""
    with ExitStack() as stack:
        ends_writer, values_writer = (
            stack.enter_context(NpyWriter(stack.enter_context(atomic_write(path)), dtype))
            for path, dtype in ((to_offsets, np.int64), (to_values, np.uint64))
        )
        ends_writer.append(np.zeros(1, dtype=np.int64))
        # Neighbours are read at once, some at a time.
        steps = np.flatnonzero(np.diff(chosen) != 1) + 1
        for run in np.split(chosen, steps) if len(chosen) else []:
            for at in range(0, len(run), _SETS_AT_ONCE):
                part = run[at : at + _SETS_AT_ONCE]
                ends = offsets.read(int(part[0]), int(part[-1]) + 2)
                ends_writer.append(ends[1:] - ends[0] + values_writer.rows)
                values_writer.append(values.read(int(ends[0]), int(ends[-1])))


def save_signatures(
    files: CorpusFiles, job: DedupJob, index: int, shard_name: str, output: Path, rows: NDArray[np.int64]
) -> list[Path]:
    """Write the signatures of the documents of a shard that stay; return the files.

    ``rows``: int64 [documents of the shard], the row of each in the kept shard, −1 where it was removed.
    """
    paths = {kind: SavedSignatures.path(output, shard_name, kind) for kind in KINDS}
    paths["documents"].parent.mkdir(parents=True, exist_ok=True)
    signatures = NpyFile.open(files.paths.signatures(index))
    with (
        atomic_write(paths["documents"]) as one,
        atomic_write(paths["signatures"]) as two,
        NpyWriter(one, DOCUMENT) as documents_writer,
        NpyWriter(two, np.uint32, (job.num_perm,)) as signatures_writer,
    ):
        for first, piece in files.read_documents(index):
            start = first - int(files.starts[index])
            own = rows[start : start + len(piece)]
            piece["row"], piece["source"] = own, 0
            documents_writer.append(piece[own >= 0])
            for at in range(0, len(piece), _AT_ONCE):
                stop = min(at + _AT_ONCE, len(piece))
                signatures_writer.append(signatures.read(start + at, start + stop)[own[at:stop] >= 0])
    _copy_sets(
        NpyFile.open(files.paths.sets("offsets", index)),
        NpyFile.open(files.paths.sets("values", index)),
        np.flatnonzero(rows >= 0),
        paths["offsets"],
        paths["values"],
    )
    return [paths[kind] for kind in KINDS]
