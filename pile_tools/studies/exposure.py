"""How often, and when last, a model had read documents before a checkpoint; from the stream itself."""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from pile_tools.errors import OutOfRangeError
from pile_tools.viewer import BatchViewer

__all__ = ["last_seen", "times_seen"]

Int64Array = npt.NDArray[np.int64]


def times_seen(viewer: BatchViewer, documents: npt.ArrayLike, until: int) -> Int64Array:
    """Return in how many steps before ``until`` each of ``documents`` [n] was read, at least a part: [n]."""
    wanted = np.asarray(documents, np.int64)
    seen, _ = _readings(viewer, wanted, until)
    unique, counts = np.unique(seen, return_counts=True)
    return _look_up(unique, counts, wanted, 0)


def last_seen(viewer: BatchViewer, documents: npt.ArrayLike, until: int) -> Int64Array:
    """Return the last step before ``until`` that read each of ``documents`` [n], −1 where none did: [n]."""
    wanted = np.asarray(documents, np.int64)
    seen, steps = _readings(viewer, wanted, until)
    # Pairs are sorted by document and then step: the last of each document is its latest step.
    unique, first = np.unique(seen[::-1], return_index=True)
    return _look_up(unique, steps[::-1][first], wanted, -1)


def _look_up(keys: Int64Array, values: Int64Array, wanted: Int64Array, missing: int) -> Int64Array:
    """Return ``values`` of the sorted ``keys`` at ``wanted``, ``missing`` for others."""
    out = np.full(len(wanted), missing, np.int64)
    if len(keys):
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = keys[places] == wanted
        out[found] = values[places[found]]
    return out


def _readings(viewer: BatchViewer, documents: Int64Array, until: int) -> tuple[Int64Array, Int64Array]:
    """Return the pairs (document, step before ``until``) in which a document was read, sorted, each once."""
    if not 0 <= until <= viewer.steps:
        raise OutOfRangeError(
            f"{viewer.order.name}: a checkpoint after {until} steps, but the stream has {viewer.steps}"
        )
    shown = viewer.occurrences(documents=np.unique(documents))
    shown = shown.filter(pc.less(shown.column("step"), until)).group_by(["document", "step"]).aggregate([])
    shown = shown.sort_by([("document", "ascending"), ("step", "ascending")])
    return shown.column("document").to_numpy(), shown.column("step").to_numpy()
