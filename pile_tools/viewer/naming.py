"""A stream by one name: that of a dataset, or that of an order of a dataset."""

import os
from typing import Any

from pile_tools.errors import PileToolsError
from pile_tools.formats.order_record import ORDER_NAME, BlendRecord, parse_record
from pile_tools.formats.overlay import OVERLAY_NAME
from pile_tools.formats.store import is_url, open_store
from pile_tools.formats.token_dataset import find_dataset
from pile_tools.viewer.view import BatchViewer

__all__ = ["open_named"]


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
                f"{name}: no token dataset; if it is an order of one, name that dataset with --data{absent}"
            )
        data = "."
    return BatchViewer.open(data, order=name, **options)


def _is_stream(name: str) -> bool:
    if is_url(name) or os.path.isdir(name):
        store = open_store(name)
        if store.read(OVERLAY_NAME) is not None:
            return True
        content = store.read(ORDER_NAME)
        if content is not None and isinstance(parse_record(content, f"{name}/{ORDER_NAME}"), BlendRecord):
            return True
    try:
        find_dataset(name)
    except PileToolsError:
        return False
    return True
