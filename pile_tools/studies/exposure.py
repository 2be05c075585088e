"""How often, and when last, a model had read sequences before a checkpoint; from the stream itself.

A sequence is a part of a document, ``n_tokens`` of it from ``offset`` on, and the token in its middle stands
for it: each time that the document is gone through, exactly one sample has that token among its inputs. To
count the samples that have any of its tokens would count a sequence twice wherever another epoch cuts it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pile_tools.algorithms.array_types import Int64Array
from pile_tools.errors import OutOfRangeError, UnanswerableError
from pile_tools.viewer import BatchViewer

__all__ = ["check_begins", "last_seen", "times_seen"]


def check_begins(viewer: BatchViewer) -> None:
    """Raise UnanswerableError for steps that were fetched from the middle of a stream."""
    if viewer.first_step > 0:
        raise UnanswerableError(
            f"{viewer.order.name}: begins with step {viewer.first_step}, and what earlier ones read is not "
            "known; name the whole stream"
        )


def times_seen(viewer: BatchViewer, sequences: pa.Table, until: int) -> Int64Array:
    """Return in how many steps before ``until`` each of ``sequences`` [n] was read: [n].

    ``sequences`` has the columns document, offset and n_tokens, without nulls.
    """
    place, which, _ = _readings(viewer, sequences, until)
    return np.bincount(which, minlength=int(place.max(initial=-1)) + 1)[place]


def last_seen(viewer: BatchViewer, sequences: pa.Table, until: int) -> Int64Array:
    """Return the last step before ``until`` that read each of ``sequences`` [n], −1 where none did: [n]."""
    place, which, steps = _readings(viewer, sequences, until)
    last = np.full(int(place.max(initial=-1)) + 1, -1, np.int64)
    np.maximum.at(last, which, steps)
    return last[place]


def _readings(
    viewer: BatchViewer, sequences: pa.Table, until: int
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the number of each sequence, equal for those with the same middle, and the pairs (number, step
    before ``until``) in which one was read, each pair once."""
    if not 0 <= until <= viewer.steps:
        raise OutOfRangeError(
            f"{viewer.order.name}: a checkpoint after {until} steps, but the stream has {viewer.steps}"
        )
    check_begins(viewer)
    document, offset, length = (
        sequences.column(name).to_numpy() for name in ("document", "offset", "n_tokens")
    )
    names, number = np.unique(document, return_inverse=True)
    shown = viewer.seen(documents=names)
    shown = shown.filter(pc.less(shown.column("step"), until))
    step, position, start, n_tokens = (
        shown.column(name).to_numpy() for name in ("step", "position", "offset", "n_tokens")
    )
    # The last token of a sample is only a label there, and an input of the sample that follows.
    stop = start + np.minimum(n_tokens, viewer.seq_length - position)
    middle = offset + (length - 1) // 2
    width = max(int(middle.max(initial=0)), int(stop.max(initial=0))) + 1
    keys, place = np.unique(number * width + middle, return_inverse=True)
    base = np.searchsorted(names, shown.column("document").to_numpy()) * width
    first, last = np.searchsorted(keys, base + start), np.searchsorted(keys, base + stop)
    counts = last - first
    which = np.arange(counts.sum()) + np.repeat(first - (np.cumsum(counts) - counts), counts)
    pairs = np.unique(np.stack([which, np.repeat(step, counts)], axis=1), axis=0)
    return place, pairs[:, 0], pairs[:, 1]
