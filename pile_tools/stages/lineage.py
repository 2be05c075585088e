"""The chain of manifests behind a directory, and addresses followed back along it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pile_tools.algorithms.complement import original_rows
from pile_tools.formats.history import History
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.order_files import list_orders
from pile_tools.formats.order_record import OrderRecord
from pile_tools.formats.store import LocalStore, Store

__all__ = ["Address", "Link", "addresses", "lineage"]


@dataclass(frozen=True, slots=True)
class Link:
    """One stage of the chain. ``manifest`` is None where only the ``identity`` is known.

    ``depth`` is 0 for the directory itself, 1 for what it was made from, and so on.
    """

    identity: str
    depth: int
    manifest: Manifest | None

    def to_json(self) -> dict[str, Any]:
        """The link with all that its manifest holds."""
        value: dict[str, Any] = {"identity": self.identity, "depth": self.depth, "stage": None}
        if self.manifest is not None:
            value |= orjson.loads(self.manifest.to_bytes())
            del value["format"]
        return value


@dataclass(frozen=True, slots=True)
class Address:
    """A document's place in the input of a stage: ``shard`` and 0-based ``row``.

    ``stage`` and ``identity`` are those of the stage that read it there.
    """

    stage: str
    identity: str
    shard: str
    row: int


def lineage(directory: Path) -> list[Link]:
    """Return the chain of manifests of ``directory``, from itself to what is known of its origin.

    Orders beside a token dataset come first, as stage "order". A manifest that several stages were
    made from is listed once.
    """
    store = LocalStore(directory)
    history = History.open(store)
    links = [*_orders(store), Link(history.own.identity, 0, history.own)]
    seen = {history.own.identity}
    todo = [(identity, 1) for identity in history.own.parents]
    while todo:
        identity, depth = todo.pop(0)
        if identity not in seen:
            seen.add(identity)
            manifest = history.ancestors.get(identity)
            links.append(Link(identity, depth, manifest))
            todo += [(parent, depth + 1) for parent in (manifest.parents if manifest else ())]
    return links


def _orders(store: Store) -> Iterator[Link]:
    for place in list_orders(store, None):
        record = place.record
        if record is None:
            continue
        parameters = orjson.loads(record.to_bytes())
        for name in ("files", "format"):
            del parameters[name]
        parents = []
        identity = hashlib.sha256(record.to_bytes()).hexdigest()
        if isinstance(record, OrderRecord):
            parents = [record.manifest] if record.manifest else []
            parents += [record.like.record] if record.like else []
            identity = record.identity
        manifest = Manifest("order", parameters, [], record.files, parents=parents)
        yield Link(identity, 0, manifest)


def addresses(history: History, shard: str, row: int) -> list[Address]:
    """Follow the document at (``shard``, ``row``) of the input of ``history.own`` back to its origin.

    The first address is the one given; each further one is that in the input of the stage that made
    the shard before, to the earliest stage that is known. Raises DataError where a stage's records do
    not allow it to be followed.
    """
    manifest = history.own
    found = [Address(manifest.stage, manifest.identity, shard, row)]
    while (made := history.maker_of(manifest, shard)) is not None and made[0].stage == "dedup":
        manifest, shard = made
        row = int(original_rows(history.removed(manifest.identity, shard), np.array([row], np.int64))[0])
        found.append(Address(manifest.stage, manifest.identity, shard, row))
    return found
