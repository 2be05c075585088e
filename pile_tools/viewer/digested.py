"""The stored digests of the orders in a directory, compared with their streams."""

from dataclasses import replace
from pathlib import Path

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.digest_files import digest_prefix, list_records, read_digests, read_digests_of
from pile_tools.formats.order_files import find_order, list_orders
from pile_tools.formats.order_record import BlendRecord
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.lookups.digests import compare_steps, stored_digests
from pile_tools.lookups.stream import Progress, no_progress, step_range
from pile_tools.viewer.opening import open_component
from pile_tools.viewer.view import BatchViewer

__all__ = ["has_digests", "verify_directory", "verify_url", "verify_with"]


def has_digests(directory: Path) -> bool:
    """Whether there are digests in ``directory``."""
    return bool(_labels(directory))


def _labels(directory: Path) -> dict[str, int | None]:
    """Return the orders whose digests are stored or recorded, each with the batch size of its digests."""
    found: dict[str, int | None] = {record.label: record.batch_size for _, record in list_records(directory)}
    for place in list_orders(LocalStore(directory), None):
        if place.record is not None and place.record.digests is not None:
            found.setdefault(place.label, None)
    return found


def _name_changed_step(
    directory: Path, label: str, steps: tuple[int | None, int | None] | None, progress: Progress
) -> None:
    """Raise DataError for the first step that differs, where tokens of the dataset or maps have changed.

    The stream is then said to be another one, which is right, but not which step it is. Of what can not be
    read as the stream that was digested nothing is said.
    """
    try:
        store, prefix = find_dataset(directory)
        dataset, place = TokenDataset(store, prefix), find_order(store, prefix, label)
        record = place.record
        if isinstance(record, BlendRecord):
            return
        found = read_digests(LocalStore(directory), digest_prefix(LocalStore(directory), label))
        if found is None or (record is not None and record.digests not in (None, found[0].root)):
            return
        if record is not None:
            record = replace(record, dataset=dataset.identity, index=dataset.index_identity)
            place = replace(place, record=record)
        stream = BatchViewer(open_component(dataset, place), batch_size=found[0].batch_size)
        if (stream.seq_length, stream.dtype.name) != (found[0].seq_length, found[0].dtype):
            return
        start, stop = step_range(stream, steps)
    except PileToolsError:
        return
    compare_steps(stream, found, start, stop, progress)


def verify_directory(
    directory: Path,
    steps: tuple[int | None, int | None] | None = None,
    order: str | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of every stream whose digests are in ``directory`` with them, or of one ``order``.

    Returns what was found right, in a line. Raises DataError for the first step that differs,
    ParameterError for ``steps`` of several orders, PileToolsError where there are no digests.
    """
    found = []
    labels = _labels(directory)
    if order is not None:
        named = BatchViewer.open(directory, order=order, batch_size=1).order.label
        labels = {label: batch_size for label, batch_size in labels.items() if label == named}
    if steps is not None and len(labels) > 1:
        raise ParameterError(
            f"{directory}: several orders have digests; name one with --order: {', '.join(labels)}"
        )
    for label, batch_size in labels.items():
        try:
            viewer = BatchViewer.open(directory, order=label, batch_size=batch_size)
            stored_digests(viewer)
        except DataError:
            _name_changed_step(directory, label, steps, progress)
            raise
        found.append(f"{label}: {viewer.verify_digests(steps, progress=progress)}")
    if not found:
        raise PileToolsError(f"{directory}: no digests; make them with `pile-tools digest`")
    return "; ".join(found)


def verify_url(
    location: str,
    steps: tuple[int | None, int | None] | None = None,
    order: str | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of the stream at a URL with the digests that are stored there with its order.

    Returns what was found right, in a line. Raises DataError for the first step that differs, ParameterError
    where there are no digests.
    """
    stream = BatchViewer.open(location, order=order, batch_size=1)
    found = read_digests(stream.home, digest_prefix(stream.home, stream.order.label))
    if found is None:
        raise ParameterError(
            f"{location}: no digests are stored with it; `pile-tools digest -o DIR` makes them here, and "
            "--digests DIR compares"
        )
    viewer = BatchViewer(stream._stream, batch_size=found[0].batch_size)
    return f"{viewer.order.label}: {viewer.verify_digests(steps, progress=progress)}"


def verify_with(
    digests: Path,
    location: str,
    steps: tuple[int | None, int | None] | None = None,
    order: str | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of the stream at ``location``, here or behind a URL, with those in ``digests``.

    Returns what was found right, in a line. Raises DataError for the first step that differs, ParameterError
    where there are no digests.
    """
    stream = None if not list_records(digests) else BatchViewer.open(location, order=order, batch_size=1)
    found = None if stream is None else read_digests_of(digests, stream.order.label)
    if stream is None or found is None:
        raise ParameterError(f"{digests}: no digests; make them with `pile-tools digest -o {digests}`")
    viewer = BatchViewer(stream._stream, batch_size=found[0].batch_size)
    return viewer.verify_digests(steps, directory=digests, progress=progress)
