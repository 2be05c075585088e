"""The stored digests of the orders in a directory, compared with their streams."""

from pathlib import Path

from pile_tools.errors import PileToolsError
from pile_tools.formats.digest_files import list_records
from pile_tools.formats.order_files import list_orders
from pile_tools.formats.store import LocalStore
from pile_tools.lookups.stream import Progress, no_progress
from pile_tools.viewer.view import BatchViewer

__all__ = ["has_digests", "verify_directory"]


def has_digests(directory: Path) -> bool:
    """Whether there are digests in ``directory``."""
    return bool(_labels(directory))


def _labels(directory: Path) -> dict[str, int | None]:
    """Return the orders whose digests are stored or recorded, each with the batch size of its digests."""
    found: dict[str, int | None] = {record.label: record.batch_size for record in list_records(directory)}
    for place in list_orders(LocalStore(directory), None):
        if place.record is not None and place.record.digests is not None:
            found.setdefault(place.label, None)
    return found


def verify_directory(
    directory: Path,
    steps: tuple[int | None, int | None] | None = None,
    progress: Progress = no_progress,
) -> str:
    """Compare the steps of every stream whose digests are in ``directory`` with them.

    Returns what was found right, in a line. Raises DataError for the first step that differs,
    PileToolsError where there are no digests.
    """
    found = []
    for label, batch_size in _labels(directory).items():
        viewer = BatchViewer.open(directory, order=label, batch_size=batch_size)
        found.append(f"{label}: {viewer.verify_digests(steps, progress=progress)}")
    if not found:
        raise PileToolsError(f"{directory}: no digests; make them with `pile-tools digest`")
    return "; ".join(found)
