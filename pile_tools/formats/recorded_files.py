"""Files that a record lists, proved to be those before they are read."""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from pile_tools.errors import DataError
from pile_tools.formats.manifest import FileEntry
from pile_tools.formats.proofs import Advance, Claim
from pile_tools.formats.sources import HeldBytes, MappedFile, Source, bytes_between
from pile_tools.formats.store import Store, open_listed

__all__ = ["hash_claim", "listed_entry", "open_recorded", "open_whole", "prove_recorded"]

_HASH_BLOCK: Final = 8 << 20


def listed_entry(entries: Sequence[FileEntry], name: str, record: str, remedy: str) -> FileEntry:
    """Return the entry of the file ``name`` among those that the file ``record`` lists; DataError without."""
    for entry in entries:
        if entry.name == name:
            return entry
    raise DataError(f"{record}: does not list {name}, so nothing proves that file; {remedy}")


def open_recorded(store: Store, entry: FileEntry, remedy: str) -> Source:
    """Open the file that a record lists as ``entry``; DataError where it is another.

    A file of this machine is hashed, once for all processes (see ``formats.ledger``). Behind a URL only its
    length is compared.
    """
    source = open_listed(store, entry)
    if store.path is not None:
        prove_recorded(store, source, entry, remedy)
    return source


def open_whole(store: Store, entry: FileEntry) -> Source:
    """Open a file that is read whole, to be proved with ``prove_recorded``; behind a URL, hold its bytes."""
    source = store.open(entry.name, entry.bytes)
    return source if store.path is not None else HeldBytes(source.name, bytes_between(source, 0, source.size))


def prove_recorded(store: Store, source: Source, entry: FileEntry, remedy: str) -> None:
    """Prove that ``source`` is the file in ``store`` that a record lists as ``entry``; DataError if not."""
    store.proofs.prove(source.name, [hash_claim(source, entry, remedy)])


def hash_claim(source: Source, entry: FileEntry, remedy: str) -> Claim:
    """Return the claim that ``source`` is the file that a record lists as ``entry``.

    ``remedy`` ends the message of the DataError.
    """

    def check(advance: Advance) -> None:
        state = hashlib.sha256()
        for start in range(0, source.size, _HASH_BLOCK):
            length = min(_HASH_BLOCK, source.size - start)
            if isinstance(source, MappedFile):
                state.update(source.array[start : start + length].data)
            else:
                state.update(source.read_many(np.array([start]), np.array([length])).data)
            advance(length)
        if source.size != entry.bytes or state.hexdigest() != entry.sha256:
            raise DataError(
                f"{source.name}: SHA-256 {state.hexdigest()[:12]}…, but {entry.sha256[:12]}… was recorded; "
                f"{remedy}"
            )

    return Claim(source, "sha256", entry.sha256, check, source.size)
