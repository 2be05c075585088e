"""A stream by one name: that of a dataset, or that of an order of a dataset."""

import os
from collections.abc import Sequence
from typing import Any

from pile_tools.errors import PileToolsError, UnfinishedError
from pile_tools.formats.order_record import ORDER_NAME, BlendRecord, parse_record
from pile_tools.formats.overlay import OVERLAY_NAME, overlay_at
from pile_tools.formats.store import open_store
from pile_tools.formats.token_dataset import find_dataset
from pile_tools.formats.urls import is_url, without_credentials
from pile_tools.viewer.view import BatchViewer

__all__ = ["common_batch_size", "open_named"]


def open_named(name: str, data: str | None, *, order: str | None = None, **options: Any) -> BatchViewer:
    """Open what ``name`` is: a dataset (or a blend or an overlay) in ``order``, or an order of ``data``.

    Without ``data`` it may be an order of the dataset in the current directory. Raises PileToolsError for
    what is none of these.
    """
    if _is_stream(name):
        return BatchViewer.open(name, order=order, **options)
    if data is None:
        if not _is_stream("."):
            absent = "" if is_url(name) or os.path.exists(name) else " (there is no such file or directory)"
            raise PileToolsError(
                f"{without_credentials(name)}: no token dataset; if it is an order of one, name that dataset "
                f"with --data{absent}"
            )
        data = "."
    return BatchViewer.open(data, order=name, **options)


def common_batch_size(names: Sequence[str]) -> int | None:
    """Return the batch size at which the overlays among ``names`` were named, so that all are compared at it.

    None where no overlay is among them, or overlays of several batch sizes.
    """
    overlays = [found[1] for name in names if (found := overlay_at(name, "mmap", None)) is not None]
    sizes = {record.batch_size for record in overlays}
    return sizes.pop() if len(sizes) == 1 else None


def _is_stream(name: str) -> bool:
    if is_url(name) or os.path.isdir(name):
        store = open_store(name)
        if store.read(OVERLAY_NAME) is not None:
            return True
        content = store.read(ORDER_NAME)
        if content is not None and isinstance(
            parse_record(content, f"{store.name}/{ORDER_NAME}"), BlendRecord
        ):
            return True
    try:
        find_dataset(name)
    except UnfinishedError:  # of a dataset that is being made, or of a server that asks to wait
        raise
    except PileToolsError:
        return False
    return True
