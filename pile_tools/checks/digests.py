"""The stored digests of the orders in a directory, compared with their streams."""

from dataclasses import replace
from pathlib import Path

from pile_tools.errors import (
    DataError,
    MismatchError,
    MissingFileError,
    MissingStreamError,
    OutOfRangeError,
    ParameterError,
    PileToolsError,
    UnfinishedError,
)
from pile_tools.formats.digests_npy import (
    DigestRecord,
    Digests,
    digest_prefix,
    list_records,
    read_digests,
    read_digests_of,
)
from pile_tools.formats.index_maps import find_order, list_orders
from pile_tools.formats.order_json import BlendRecord
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.jobs.progress import Progress, no_progress
from pile_tools.lookups.digests import compare_steps, stored_digests
from pile_tools.storage.proofs import Proofs, use_proofs
from pile_tools.storage.store import LocalStore
from pile_tools.stream.opening import find_stream, open_component
from pile_tools.stream.steps import step_range
from pile_tools.stream.stream import Stream

__all__ = ["has_digests", "is_stream", "verify_digests", "verify_directory", "verify_stream"]

Steps = tuple[int | None, int | None]


def has_digests(directory: Path) -> bool:
    """Whether there are digests in ``directory``."""
    return bool(_labels(directory))


def _labels(directory: Path) -> list[str]:
    """Return the labels of the orders whose digests are stored or recorded."""
    stored = [record.label for _, record in list_records(directory)]
    places = list_orders(LocalStore(directory), None)
    named = [place.label for place in places if place.record is not None and place.record.digests is not None]
    return list(dict.fromkeys(stored + named))


def is_stream(directory: Path) -> bool:
    """Whether there is a token dataset, a blend or an overlay in ``directory``."""
    try:
        find_stream(directory)
    except MissingStreamError:
        return False
    except (ParameterError, UnfinishedError):  # several datasets, or one that is being made
        return True
    return True


def _name_changed_step(
    location: str, order: str | None, steps: Steps | None, progress: Progress, digests: Path | None
) -> None:
    """Raise DataError for the first step that differs, where tokens of the dataset or maps have changed.

    Files are read as they are: the digests prove the steps, or do not. The stream is then said to be another
    one, which is right, but not which step it is. Steps that cannot be read as the stream that was digested
    are not reported.
    """
    try:
        with use_proofs(Proofs(trust=True)):
            store, prefix = find_dataset(location)
            dataset, place = TokenDataset(store, prefix), find_order(store, prefix, order)
        record = place.record
        if isinstance(record, BlendRecord):
            return
        if digests is not None:
            found = read_digests_of(digests, place.label)
        else:
            found = read_digests(place.store, digest_prefix(place.store, place.label))
            if found is not None and record is not None and record.digests not in (None, found[0].root):
                return
        if found is None:
            return
        if record is not None:
            record = replace(record, dataset=dataset.identity, index=dataset.index_identity)
            place = replace(place, record=record)
        stream = Stream(open_component(dataset, place), batch_size=found[0].batch_size)
        if (stream.seq_length, stream.dtype.name) != (found[0].seq_length, found[0].dtype):
            return
        start, stop = step_range(stream, steps)
        if start < found[0].first_step or stop > found[0].steps:
            return
    except PileToolsError:
        return
    compare_steps(stream, found, start, stop, progress)


def verify_directory(
    directory: Path, steps: Steps | None = None, order: str | None = None, progress: Progress = no_progress
) -> str:
    """Compare the steps of every stream whose digests are in ``directory`` with them.

    Of one ``order`` alone, also one that is elsewhere, with the digests that lie with it. Of digests without
    a token dataset only the root is checked. Returns what was found right, in a line. Raises DataError for
    the first step that differs, ParameterError for ``steps`` of several orders, MissingFileError where there
    are no digests, or no tokens of ``steps``.
    """
    labels = _labels(directory)
    if labels and not is_stream(directory):
        if steps is not None:
            raise MissingFileError(
                f"{directory}: its dataset is not here; name that in its place, and {directory} with --order"
            )
        return "; ".join(_verify_root(directory, label) for label in labels)
    if order is not None:
        return verify_stream(str(directory), steps, order, progress)
    if not labels:
        raise MissingFileError(f"{directory}: no digests; make them with `pile-tools digest`")
    if steps is not None and len(labels) > 1:
        raise ParameterError(
            f"{directory}: several orders have digests; name one with --order: {', '.join(labels)}"
        )
    return "; ".join(verify_stream(str(directory), steps, label, progress) for label in labels)


def _verify_root(directory: Path, label: str) -> str:
    """Check that the digests of ``label`` are those that their record, and that of the order, describe."""
    store = LocalStore(directory)
    found = read_digests(store, digest_prefix(store, label))
    if found is None:
        raise DataError(f"{directory}: its digests are missing; make them again with `pile-tools digest`")
    record = found[0]
    for place in list_orders(store, None):
        order = place.record
        if place.label != label or order is None:
            continue
        if order.seq_length != record.seq_length or order.digests not in (None, record.root):
            raise DataError(
                f"{directory}: digests other than those in the record of the order; make them again with "
                "`pile-tools digest`"
            )
    steps = f"{record.first_step}:{record.steps}"
    return f"{label}: digests of steps {steps}, root {record.root[:12]}… (its dataset is not here)"


def verify_stream(
    location: str,
    steps: Steps | None = None,
    order: str | None = None,
    progress: Progress = no_progress,
    *,
    digests: Path | None = None,
) -> str:
    """Compare the steps of the stream at ``location``, here or behind a URL, with its digests.

    They are those that are stored with its order, or those in the directory ``digests``. Returns what was
    found right, in a line. Raises DataError for the first step that differs, MissingFileError where there are
    no digests.
    """
    if digests is not None and not list_records(digests):
        raise MissingFileError(f"{digests}: no digests; make them with `pile-tools digest -o {digests}`")
    try:
        samples = Stream.open(location, order=order, batch_size=1)
        stream = Stream(samples.opened, batch_size=_find(samples, digests)[0].batch_size)
        if digests is None:
            stored_digests(stream)
    except DataError:
        _name_changed_step(location, order, steps, progress, digests)
        raise
    return f"{stream.order.label}: {verify_digests(stream, steps, directory=digests, progress=progress)}"


def _find(stream: Stream, digests: Path | None) -> tuple[DigestRecord, Digests]:
    """Return the digests in the directory ``digests``, else those that are stored with ``stream``."""
    found = stored_digests(stream) if digests is None else read_digests_of(digests, stream.order.label)
    if found is not None:
        return found
    if stream.home.path is not None:
        raise MissingFileError(f"{stream.home.name}: no digests; make them with `pile-tools digest`")
    raise MissingFileError(
        f"{stream.home.name}: no digests are stored with it; `pile-tools digest -o DIR` makes them here, and "
        "--digests DIR compares"
    )


def verify_digests(
    stream: Stream,
    steps: tuple[int | None, int | None] | None = None,
    *,
    directory: Path | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of ``stream`` with its stored digests; return what was found right, in a line.

    Those in ``directory`` (of several, those of the stream's order, else ``digests.npy``) need not be of this
    storage of the stream: shapes, dtype and numbers of steps must be the stream's. Raises DataError for the
    first step that differs and for digests of another stream, ParameterError for those of another batch size,
    OutOfRangeError for steps that have none, MissingFileError where there are no digests.
    """
    found = stored_digests(stream) if directory is None else read_digests_of(directory, stream.order.label)
    where = stream.name if directory is None else str(directory)
    if found is None:
        raise MissingFileError(f"{where}: no digests; make them with `pile-tools digest`")
    record = found[0]
    if (record.seq_length, record.dtype) != (stream.seq_length, stream.dtype.name):
        raise MismatchError(
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
