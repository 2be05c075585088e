"""Digests of the steps of a stream: computed, found beside its order, and compared."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, MismatchError
from pile_tools.formats.digests_npy import (
    DIGEST_BYTES,
    DigestRecord,
    digest_prefix,
    read_digests,
)
from pile_tools.jobs.progress import Progress, in_threads, no_progress
from pile_tools.stream.stream import Stream

__all__ = [
    "Digests",
    "compare_steps",
    "differences",
    "digest_record",
    "digest_steps",
    "is_remote",
    "stored_digests",
    "trusted_digests",
]

_CHUNK: Final = 16

Digests = npt.NDArray[np.uint8]


def digest_steps(stream: Stream, start: int, stop: int) -> Iterator[Digests]:
    """Yield the digests of steps [start, stop), some at a time, uint8 [n, 16]."""

    def digest(first: int) -> Digests:
        steps = range(first, min(first + _CHUNK, stop))
        found = b"".join(map(stream.step_digest, steps))
        return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)

    return in_threads(digest, range(start, stop, _CHUNK))


def digest_record(stream: Stream) -> DigestRecord:
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


def differences(old: DigestRecord, new: DigestRecord) -> str:
    pairs = [(name, value, getattr(new, name)) for name, value in asdict(old).items() if name != "root"]
    return ", ".join(f"{name} {one}, not {two}" for name, one, two in pairs if one != two)


def is_remote(stream: Stream) -> bool:
    """Whether some of the tokens of ``stream`` are behind a URL."""
    return any(dataset.is_remote for dataset in stream.datasets)


def stored_digests(stream: Stream) -> tuple[DigestRecord, Digests] | None:
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
    record = digest_record(stream)
    if is_remote(stream):  # where the identity is one of versions of files
        record = replace(record, stream=found[0].stream)
    if found[0].batch_size != record.batch_size:  # other steps of the same samples
        steps = {name: getattr(found[0], name) for name in ("batch_size", "first_step", "steps")}
        record = replace(record, **steps)
    if replace(found[0], root="") != record:
        raise MismatchError(
            f"{stream.home.name}: digests of another stream ({differences(found[0], record)}); make them "
            "again with `pile-tools digest`"
        )
    if named is not None and named != found[0].root:
        raise DataError(
            f"{stream.home.name}: digests whose root is not the one in the record of the order; make them "
            "again with `pile-tools digest`"
        )
    return found


def trusted_digests(stream: Stream) -> Digests | None:
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
    return found[1] if is_named or not is_remote(stream) else None


def compare_steps(
    stream: Stream,
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
