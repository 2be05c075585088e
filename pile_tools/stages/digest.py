"""Digests of all steps of a stream, made and stored with its order."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.digests_npy import (
    DIGEST_BYTES,
    DigestRecord,
    digest_names,
    digest_prefix,
    read_digests,
    root_of,
    write_digests,
)
from pile_tools.formats.order_json import ORDER_NAME, parse_record
from pile_tools.jobs.file_group import FileGroup, UnfinishedRows
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.lookups.digests import (
    Digests,
    compare_steps,
    differences,
    digest_record,
    digest_steps,
    is_remote,
)
from pile_tools.storage.free_space import require_space
from pile_tools.storage.manifest import Manifest
from pile_tools.storage.names import path_inside
from pile_tools.storage.outputs import refuse_listed
from pile_tools.storage.store import LocalStore
from pile_tools.stream.stream import Stream
from pile_tools.viewer import BatchViewer

__all__ = ["DigestSummary", "digest"]

_UNFINISHED: Final = "digests.partial"


@dataclass(frozen=True, slots=True)
class DigestSummary:
    """Where digests are, what they are of, and whether they were there before."""

    path: Path
    record: DigestRecord
    existed: bool


def digest(
    viewer: BatchViewer, output: str | os.PathLike[str] | None = None, *, progress: Progress = no_progress
) -> DigestSummary:
    """Digest every step of ``viewer`` and store the digests beside its order, or in ``output``.

    ``digests.npy`` is uint8 [steps, 16], XXH3-128 of each step; the root is the SHA-256 of all of them.
    The same stream has the same digests however it is stored.

    Beside an order with a record that no manifest lists, the root goes into the record too. A run that was
    interrupted goes on where it ended; finished digests are left as they are. Raises ParameterError where
    there is no place to write or the batch size is not that of the order, DataError where other digests
    are in the way.
    """
    stream = viewer.stream
    stream.prove()
    record = digest_record(stream)
    if record.first_step >= record.steps:
        raise ParameterError(
            f"{stream.name}: not one whole batch of {stream.batch_size}, so nothing to digest"
        )
    own, home = stream.record, stream.home.path
    named = None if output is None else Path(output)
    if named is not None and home is not None and named.resolve() == home.resolve():
        named = None
    directory = named or home
    if directory is None:
        raise ParameterError(f"{stream.name}: it is behind a URL; name a directory to write to with -o")
    if named is None and own is not None and own.batch_size != stream.batch_size:
        raise ParameterError(
            f"{stream.name}: its steps have {own.batch_size} samples; digests of steps of "
            f"{stream.batch_size} go elsewhere: name a directory with -o"
        )
    with _DigestFiles(stream, directory, record, beside=named is None) as group:
        return group.summary or _make_digests(group, progress)


class _DigestFiles(FileGroup):
    """The digests of the steps that ``record`` names, ``beside`` the order of ``stream`` or elsewhere.

    ``summary`` is that of digests which are there whole, in the record of the order too.
    """

    def __init__(self, stream: Stream, directory: Path, record: DigestRecord, *, beside: bool) -> None:
        super().__init__(directory)
        self.stream, self.record, self.beside = stream, record, beside
        self.summary: DigestSummary | None = None

    @property
    def prefix(self) -> str:
        """What the names of the files begin with."""
        return digest_prefix(LocalStore(self.directory), self.record.label) if self.beside else ""

    @property
    def unfinished(self) -> Path:
        """The file of the digests so far."""
        return path_inside(self.directory, f"{self.prefix}{_UNFINISHED}")

    def read(self) -> tuple[DigestRecord, Digests] | None:
        """Return the digests that are there, of this stream or another, None without any."""
        return read_digests(LocalStore(self.directory), self.prefix)

    def is_finished(self) -> bool:
        stored = self.read() if self.directory.is_dir() else None
        if stored is None or replace(stored[0], root="") != self.record or self.unfinished.exists():
            return False
        if self.record_without_root(stored[0].root) is not None:
            return False
        self.summary = self.summarize(stored[0], existed=True)
        return True

    def summarize(self, record: DigestRecord, *, existed: bool) -> DigestSummary:
        return DigestSummary(self.directory / digest_names(self.prefix)[0], record, existed)

    def record_without_root(self, root: str) -> str | None:
        """Return the name of the order's record where it is to get ``root``, None where it has it.

        A record that a manifest lists, of fetched steps, stays as listed; digests.json has the root.
        """
        own = self.stream.record
        if not self.beside or own is None or own.digests == root:
            return None
        for name in (ORDER_NAME, f"{own.label}_{ORDER_NAME}"):
            content = LocalStore(self.directory).read(name)
            if content is None or parse_record(content, f"{self.directory}/{name}").label != own.label:
                continue
            manifest = Manifest.find(self.directory)
            listed = manifest is not None and any(entry.name == name for entry in manifest.outputs)
            return None if listed else name
        return None


def _make_digests(group: _DigestFiles, progress: Progress) -> DigestSummary:
    """Make what is not there yet of the digests of ``group``, whose directory is held."""
    stream, record, directory = group.stream, group.record, group.directory
    stored = group.read()
    if stored is not None and group.beside and _is_of_another_storage(stream, stored, record, progress):
        if is_remote(stream):
            record = replace(record, stream=stored[0].stream)
        else:
            stored = replace(stored[0], stream=record.stream), stored[1]
            write_digests(directory, group.prefix, *stored)
    if stored is not None and replace(stored[0], root="") != record:
        raise DataError(
            f"{directory}: digests of another stream ({differences(stored[0], record)}); remove them, or "
            "name another directory with -o"
        )
    existed = stored is not None
    if stored is None:
        for name in digest_names(group.prefix):
            refuse_listed(directory / name)
        digests = _digest_all(stream, group.unfinished, record, progress)
        stored = replace(record, root=root_of(digests)), digests
        write_digests(directory, group.prefix, *stored)
    group.unfinished.unlink(missing_ok=True)
    order_name = group.record_without_root(stored[0].root)
    if order_name is not None and stream.record is not None:
        group.finish(order_name, replace(stream.record, digests=stored[0].root).to_bytes())
    return group.summarize(stored[0], existed=existed)


def _is_of_another_storage(
    stream: Stream, stored: tuple[DigestRecord, Digests], record: DigestRecord, progress: Progress
) -> bool:
    """Whether ``stored``, made where the dataset had another identity, are the digests of ``stream`` too.

    The identity of a dataset behind a URL is not that of a copy of it here; all steps are compared.
    """
    if stored[0].stream == record.stream or replace(stored[0], root="", stream=record.stream) != record:
        return False
    try:
        compare_steps(stream, stored, record.first_step, record.steps, progress)
    except DataError:
        return False
    return True


def _digest_all(stream: Stream, path: Path, record: DigestRecord, progress: Progress) -> Digests:
    """Return all digests, those in the unfinished file ``path`` and, added to it, the others."""
    done_bytes = path.stat().st_size if path.exists() else 0
    total = record.steps - record.first_step
    total_bytes = total * DIGEST_BYTES
    require_space(path.parent, max(0, total_bytes - done_bytes) + total_bytes)  # gone on with, then copied
    with UnfinishedRows(path, asdict(record), DIGEST_BYTES) as unfinished:
        progress("digest", unfinished.rows, total)
        for digests in digest_steps(stream, record.first_step + unfinished.rows, record.steps):
            unfinished.append(digests.tobytes())
            progress("digest", unfinished.rows, total)
        return np.frombuffer(unfinished.read(), np.uint8).reshape(total, DIGEST_BYTES)
