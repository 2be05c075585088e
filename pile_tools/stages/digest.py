"""Digests of all steps of a stream, made and stored with its order."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from pile_tools.errors import DataError, MismatchError, ParameterError
from pile_tools.formats.digests_npy import (
    DIGEST_BYTES,
    DigestRecord,
    digest_names,
    digest_prefix,
    read_digests,
    root_of,
    write_digests,
)
from pile_tools.formats.order_json import ORDER_NAME, BlendRecord, OrderRecord, parse_record
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.lookups.digests import (
    Digests,
    compare_steps,
    differences,
    digest_record,
    digest_steps,
    is_remote,
)
from pile_tools.storage.atomic import sweep_partials
from pile_tools.storage.free_space import require_space
from pile_tools.storage.locks import DirectoryLock, remove_stray_lock
from pile_tools.storage.manifest import Manifest, canonical_json
from pile_tools.storage.names import path_inside
from pile_tools.storage.outputs import refuse_listed
from pile_tools.storage.store import LocalStore
from pile_tools.stream.stream import Stream
from pile_tools.viewer import BatchViewer

__all__ = ["DigestSummary", "digest"]

_PARTIAL: Final = "digests.partial"


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
    beside = named is None
    made = _made_before(stream, directory, record) if beside else None
    if made is not None:  # nothing to write, so no lock, which a directory that is read-only could not give
        remove_stray_lock(directory)
        return made
    with DirectoryLock(directory):
        sweep_partials(directory, own=False)
        return _make_digests(stream, directory, record, beside=beside, progress=progress)


def _made_before(stream: Stream, directory: Path, record: DigestRecord) -> DigestSummary | None:
    """Return the digests of ``record`` beside the order, None where anything of them is to be written."""
    prefix = digest_prefix(LocalStore(directory), record.label)
    found = read_digests(LocalStore(directory), prefix)
    if found is None or replace(found[0], root="") != record:
        return None
    if (directory / f"{prefix}{_PARTIAL}").exists():
        return None
    if _record_without_root(directory, stream.record, found[0].root) is not None:
        return None
    return DigestSummary(directory / f"{prefix}digests.npy", found[0], existed=True)


def _make_digests(
    stream: Stream, directory: Path, record: DigestRecord, *, beside: bool, progress: Progress
) -> DigestSummary:
    """Make what is not there yet of the digests of ``stream`` in ``directory``, whose lock is held."""
    prefix = digest_prefix(LocalStore(directory), record.label) if beside else ""
    found = read_digests(LocalStore(directory), prefix)
    if found is not None and beside and _is_of_another_storage(stream, found, record, progress):
        if is_remote(stream):
            record = replace(record, stream=found[0].stream)
        else:
            found = replace(found[0], stream=record.stream), found[1]
            write_digests(directory, prefix, *found)
    if found is not None and replace(found[0], root="") != record:
        raise MismatchError(
            f"{directory}: digests of another stream ({differences(found[0], record)}); remove them, or "
            "name another directory with -o"
        )
    existed = found is not None
    if found is None:
        for name in digest_names(prefix):
            refuse_listed(directory / name)
        digests = _resumed(stream, path_inside(directory, f"{prefix}{_PARTIAL}"), record, progress)
        found = replace(record, root=root_of(digests)), digests
        write_digests(directory, prefix, *found)
    (directory / f"{prefix}{_PARTIAL}").unlink(missing_ok=True)
    own = stream.record
    path = _record_without_root(directory, own, found[0].root) if beside else None
    if own is not None and path is not None:
        replace(own, digests=found[0].root).write(path)
    return DigestSummary(directory / f"{prefix}digests.npy", found[0], existed)


def _record_without_root(directory: Path, own: OrderRecord | BlendRecord | None, root: str) -> Path | None:
    """Return the file in ``directory`` of the record ``own`` that is to get ``root``, None where it has it.

    A record that a manifest lists, of fetched steps, stays as listed; digests.json has the root.
    """
    if own is None or own.digests == root:
        return None
    for name in (ORDER_NAME, f"{own.label}_{ORDER_NAME}"):
        content = LocalStore(directory).read(name)
        if content is None or parse_record(content, f"{directory}/{name}").label != own.label:
            continue
        manifest = Manifest.find(directory)
        listed = manifest is not None and any(entry.name == name for entry in manifest.outputs)
        return None if listed else directory / name
    return None


def _is_of_another_storage(
    stream: Stream, found: tuple[DigestRecord, Digests], record: DigestRecord, progress: Progress
) -> bool:
    """Whether ``found``, made where the dataset had another identity, are the digests of ``stream`` too.

    The identity of a dataset behind a URL is not that of a copy of it here; all steps are compared.
    """
    if found[0].stream == record.stream or replace(found[0], root="", stream=record.stream) != record:
        return False
    try:
        compare_steps(stream, found, record.first_step, record.steps, progress)
    except DataError:
        return False
    return True


def _resumed(stream: Stream, path: Path, record: DigestRecord, progress: Progress) -> Digests:
    """Return all digests, those in the unfinished file ``path`` and, added to it, the others."""
    header = canonical_json(asdict(record))
    done_bytes = path.stat().st_size if path.exists() else 0
    total_bytes = (record.steps - record.first_step) * DIGEST_BYTES
    require_space(path.parent, max(0, total_bytes - done_bytes) + total_bytes)  # gone on with, then copied
    # Its name is known beforehand, for it is gone on with: a link of that name is not followed.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "a+b") as file:
        file.seek(0)
        content = file.read()
        if not content.startswith(header):  # begun for another stream, or not even begun
            file.truncate(0)
            file.write(header)
            content = header
        done = (len(content) - len(header)) // DIGEST_BYTES
        file.truncate(len(header) + done * DIGEST_BYTES)
        total = record.steps - record.first_step
        progress("digest", done, total)
        for digests in digest_steps(stream, record.first_step + done, record.steps):
            file.write(digests.tobytes())
            file.flush()
            done += len(digests)
            progress("digest", done, total)
        file.seek(len(header))
        return np.frombuffer(file.read(), np.uint8).reshape(total, DIGEST_BYTES)
