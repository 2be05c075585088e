"""The stored digests of the orders in a directory, compared with their streams."""

from dataclasses import replace
from pathlib import Path

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.digest_files import (
    DigestRecord,
    Digests,
    digest_prefix,
    list_records,
    read_digests,
    read_digests_of,
)
from pile_tools.formats.order_files import find_order, list_orders
from pile_tools.formats.order_record import BlendRecord
from pile_tools.formats.overlay import OVERLAY_NAME
from pile_tools.formats.proofs import Proofs, use_proofs
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.lookups.digests import compare_steps, stored_digests
from pile_tools.lookups.stream import Progress, no_progress, step_range
from pile_tools.viewer.opening import open_component
from pile_tools.viewer.view import BatchViewer

__all__ = ["has_digests", "is_stream", "verify_directory", "verify_stream"]

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
    places = list_orders(LocalStore(directory), None)
    return (
        any(directory.glob("*.idx"))
        or (directory / OVERLAY_NAME).exists()
        or any(isinstance(place.record, BlendRecord) for place in places)
    )


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
        stream = BatchViewer(open_component(dataset, place), batch_size=found[0].batch_size)
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
    the first step that differs, ParameterError for ``steps`` of several orders, PileToolsError where there
    are no digests, or no tokens of ``steps``.
    """
    labels = _labels(directory)
    if labels and not is_stream(directory):
        if steps is not None:
            raise PileToolsError(
                f"{directory}: its dataset is not here; name that in its place, and {directory} with --order"
            )
        return "; ".join(_verify_root(directory, label) for label in labels)
    if order is not None:
        return verify_stream(str(directory), steps, order, progress)
    if not labels:
        raise PileToolsError(f"{directory}: no digests; make them with `pile-tools digest`")
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
    found right, in a line. Raises DataError for the first step that differs, PileToolsError where there are
    no digests.
    """
    if digests is not None and not list_records(digests):
        raise PileToolsError(f"{digests}: no digests; make them with `pile-tools digest -o {digests}`")
    try:
        stream = BatchViewer.open(location, order=order, batch_size=1)
        found = _find(stream, digests)
        viewer = BatchViewer(stream._stream, batch_size=found[0].batch_size)
        if digests is None:
            stored_digests(viewer)
    except DataError:
        _name_changed_step(location, order, steps, progress, digests)
        raise
    return f"{viewer.order.label}: {viewer.verify_digests(steps, directory=digests, progress=progress)}"


def _find(stream: BatchViewer, digests: Path | None) -> tuple[DigestRecord, Digests]:
    """Return the digests in the directory ``digests``, else those that are stored with ``stream``."""
    found = stored_digests(stream) if digests is None else read_digests_of(digests, stream.order.label)
    if found is not None:
        return found
    if stream.home.path is not None:
        raise PileToolsError(f"{stream.home.name}: no digests; make them with `pile-tools digest`")
    raise PileToolsError(
        f"{stream.home.name}: no digests are stored with it; `pile-tools digest -o DIR` makes them here, and "
        "--digests DIR compares"
    )
