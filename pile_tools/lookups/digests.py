"""The digests of all steps of a stream: made, and compared with the stream again."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.atomic import sweep_partials
from pile_tools.formats.digest_files import (
    DIGEST_BYTES,
    DigestRecord,
    digest_names,
    digest_prefix,
    read_digests,
    read_digests_of,
    root_of,
    write_digests,
)
from pile_tools.formats.free_space import require_space
from pile_tools.formats.locks import DirectoryLock, remove_stray_lock
from pile_tools.formats.manifest import Manifest, canonical_json
from pile_tools.formats.names import path_inside
from pile_tools.formats.order_files import OrderPlace
from pile_tools.formats.order_record import ORDER_NAME, BlendRecord, OrderRecord, parse_record
from pile_tools.formats.outputs import refuse_listed
from pile_tools.formats.store import LocalStore, Store
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.stream import Progress, Stream, Tokens, in_threads, no_progress, step_range

__all__ = [
    "DigestSummary",
    "DigestedStream",
    "compare_steps",
    "digest_steps",
    "make_digests",
    "stored_digests",
    "trusted_digests",
    "verify_digests",
]

_CHUNK: Final = 16
_PARTIAL: Final = "digests.partial"

Digests = npt.NDArray[np.uint8]


class DigestedStream(Stream, Protocol):
    """A stream whose steps can be read whole."""

    @property
    def order(self) -> OrderPlace: ...
    @property
    def home(self) -> Store:
        """The files that are the stream's own: those of its order, or of the overlay."""

    @property
    def record(self) -> OrderRecord | BlendRecord | None:
        """The record of the stream itself, None where there is none."""

    @property
    def datasets(self) -> tuple[TokenDataset, ...]: ...
    @property
    def identity(self) -> str: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...

    def prove(self) -> None:
        """Prove the order before it is believed; DataError for what is wrong."""

    def batch(self, step: int) -> Tokens:
        """Return the tokens of ``step``, [batch_size, seq_length + 1]."""


@dataclass(frozen=True, slots=True)
class DigestSummary:
    """Where digests are, what they are of, and whether they were there before."""

    path: Path
    record: DigestRecord
    existed: bool


def digest_steps(stream: DigestedStream, start: int, stop: int) -> Iterator[Digests]:
    """Yield the digests of steps [start, stop), some at a time, uint8 [n, 16]."""

    def digest(first: int) -> Digests:
        steps = range(first, min(first + _CHUNK, stop))
        found = b"".join(xxhash.xxh3_128_digest(stream.batch(step).data) for step in steps)
        return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)

    return in_threads(digest, range(start, stop, _CHUNK))


def _record(stream: DigestedStream) -> DigestRecord:
    """Return the record of the digests of all steps, without a root."""
    return DigestRecord(
        label=stream.order.label,
        stream=stream.identity,
        batch_size=stream.batch_size,
        seq_length=stream.seq_length,
        dtype=stream.dtype.name,
        first_step=stream.first_step,
        steps=stream.steps,
        root="",
    )


def make_digests(
    stream: DigestedStream, *, output: Path | None = None, progress: Progress = no_progress
) -> DigestSummary:
    """Digest every step of ``stream`` and store the digests beside its order, or in ``output``.

    Beside an order with a record that no manifest lists, the root goes into the record too. A run that was
    interrupted goes on where it ended; finished digests are left as they are. Raises ParameterError where
    there is no place to write or the batch size is not that of the order, DataError where other digests
    are in the way.
    """
    stream.prove()
    record = _record(stream)
    if record.first_step >= record.steps:
        raise ParameterError(
            f"{stream.name}: not one whole batch of {stream.batch_size}, so nothing to digest"
        )
    own, home = stream.record, stream.home.path
    if output is not None and home is not None and output.resolve() == home.resolve():
        output = None
    directory = output or stream.home.path
    if directory is None:
        raise ParameterError(f"{stream.name}: it is behind a URL; name a directory to write to with -o")
    if output is None and own is not None and own.batch_size != stream.batch_size:
        raise ParameterError(
            f"{stream.name}: its steps have {own.batch_size} samples; digests of steps of "
            f"{stream.batch_size} go elsewhere: name a directory with -o"
        )
    beside = output is None
    made = _made_before(stream, directory, record) if beside else None
    if made is not None:  # nothing to write, so no lock, which a directory that is read-only could not give
        remove_stray_lock(directory)
        return made
    with DirectoryLock(directory):
        sweep_partials(directory, own=False)
        return _make_digests(stream, directory, record, beside=beside, progress=progress)


def _made_before(stream: DigestedStream, directory: Path, record: DigestRecord) -> DigestSummary | None:
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
    stream: DigestedStream, directory: Path, record: DigestRecord, *, beside: bool, progress: Progress
) -> DigestSummary:
    """Make what is not there yet of the digests of ``stream`` in ``directory``, whose lock is held."""
    prefix = digest_prefix(LocalStore(directory), record.label) if beside else ""
    found = read_digests(LocalStore(directory), prefix)
    if found is not None and beside and _is_of_another_storage(stream, found, record, progress):
        if _is_remote(stream):
            record = replace(record, stream=found[0].stream)
        else:
            found = replace(found[0], stream=record.stream), found[1]
            write_digests(directory, prefix, *found)
    if found is not None and replace(found[0], root="") != record:
        raise DataError(
            f"{directory}: digests of another stream ({_differences(found[0], record)}); remove them, or "
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
    stream: DigestedStream, found: tuple[DigestRecord, Digests], record: DigestRecord, progress: Progress
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


def _differences(old: DigestRecord, new: DigestRecord) -> str:
    pairs = [(name, value, getattr(new, name)) for name, value in asdict(old).items() if name != "root"]
    return ", ".join(f"{name} {one}, not {two}" for name, one, two in pairs if one != two)


def _resumed(stream: DigestedStream, path: Path, record: DigestRecord, progress: Progress) -> Digests:
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


def _is_remote(stream: DigestedStream) -> bool:
    """Whether some of the tokens of ``stream`` are behind a URL."""
    return any(dataset.is_remote for dataset in stream.datasets)


def stored_digests(stream: DigestedStream) -> tuple[DigestRecord, Digests] | None:
    """Return the digests of ``stream`` that are stored with its order, None without any.

    Raises DataError for digests of another stream, or that the record of the order does not name.
    """
    found = read_digests(stream.home, digest_prefix(stream.home, stream.order.label))
    named = stream.record.digests if stream.record is not None else None
    if found is None:
        if named is not None:
            raise DataError(
                f"{stream.name}: its digests are missing; make them again with `pile-tools digest`"
            )
        return None
    record = _record(stream)
    if _is_remote(stream):  # where the identity is one of versions of files
        record = replace(record, stream=found[0].stream)
    if found[0].batch_size != record.batch_size:  # other steps of the same samples
        steps = {name: getattr(found[0], name) for name in ("batch_size", "first_step", "steps")}
        record = replace(record, **steps)
    if replace(found[0], root="") != record:
        raise DataError(
            f"{stream.home.name}: digests of another stream ({_differences(found[0], record)}); make them "
            "again with `pile-tools digest`"
        )
    if named is not None and named != found[0].root:
        raise DataError(
            f"{stream.home.name}: digests whose root is not the one in the record of the order; make them "
            "again with `pile-tools digest`"
        )
    return found


def trusted_digests(stream: DigestedStream) -> Digests | None:
    """Return the stored digests of the steps of ``stream`` where they speak for its tokens, else None.

    Digests of what a stream was before its files were changed do not, and an order that is damaged is a
    DataError. Of tokens behind a URL, which are not looked at, they do if the record of the order holds their
    root.
    """
    stream.prove()
    try:
        found = stored_digests(stream)
    except DataError:
        return None
    if found is None or found[0].batch_size != stream.batch_size:
        return None
    is_named = stream.record is not None and stream.record.digests is not None
    return found[1] if is_named or not _is_remote(stream) else None


def verify_digests(
    stream: DigestedStream,
    steps: tuple[int | None, int | None] | None = None,
    *,
    directory: Path | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of ``stream`` with its stored digests; return what was found right, in a line.

    Those in ``directory`` (of several, those of the stream's order, else ``digests.npy``) need not be of this
    storage of the stream: shapes, dtype and numbers of steps must be the stream's. Raises DataError for the
    first step that differs and for digests of another stream, ParameterError for those of another batch size,
    OutOfRangeError for steps that have none, PileToolsError where there are no digests.
    """
    found = stored_digests(stream) if directory is None else read_digests_of(directory, stream.order.label)
    where = stream.name if directory is None else str(directory)
    if found is None:
        raise PileToolsError(f"{where}: no digests; make them with `pile-tools digest`")
    record = found[0]
    if (record.seq_length, record.dtype) != (stream.seq_length, stream.dtype.name):
        raise DataError(
            f"{where}: digests of another stream (seq_length {record.seq_length} and dtype {record.dtype}, "
            f"not {stream.seq_length} and {stream.dtype.name}); name those of {stream.name}"
        )
    if record.batch_size != stream.batch_size:
        raise ParameterError(
            f"{stream.name}: digests of steps of {record.batch_size} samples; open it at that batch size"
        )
    start, stop = step_range(stream, steps)
    if start < record.first_step or stop > record.steps:
        raise OutOfRangeError(
            f"{where}: digests of steps {record.first_step}:{record.steps}, and not of all of "
            f"{start}:{stop}; name some of them with --steps"
        )
    compare_steps(stream, found, start, stop, progress)
    # Behind a URL an identity is of that place alone, so that it tells nothing of digests that lie there.
    elsewhere = directory is not None and record.stream != stream.identity
    storage = ", made of another storage of the stream" if elsewhere else ""
    return f"steps {start}:{stop} as their digests have them, root {record.root[:12]}…{storage}"


def compare_steps(
    stream: DigestedStream,
    found: tuple[DigestRecord, Digests],
    start: int,
    stop: int,
    progress: Progress = no_progress,
) -> None:
    """Raise DataError for the first of steps [start, stop) of ``stream`` that differs from its digest."""
    record, digests = found
    done = start
    for computed in digest_steps(stream, start, stop):
        stored = digests[done - record.first_step : done - record.first_step + len(computed)]
        wrong = np.flatnonzero((computed != stored).any(axis=1))
        if len(wrong):
            step = done + int(wrong[0])
            raise DataError(
                f"{stream.name}: step {step} is the first that differs from its digest "
                f"({computed[wrong[0]].tobytes().hex()}, not {stored[wrong[0]].tobytes().hex()})"
            )
        done += len(computed)
        progress("digest", done - start, stop - start)
