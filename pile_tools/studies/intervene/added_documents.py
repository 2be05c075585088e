"""Documents that an overlay adds: collected, and written as a token dataset with provenance."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pile_tools.formats.documents_parquet import (
    PROVENANCE_NAME,
    ProvenanceWriter,
    provenance_table,
    text_digest,
)
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.overlay_json import ADDED_NAME, NO_ROW
from pile_tools.storage.atomic import atomic_write
from pile_tools.storage.manifest import FileEntry, file_entry
from pile_tools.stream.components import Component
from pile_tools.stream.document_table import provenance_of

__all__ = ["AddedDocuments"]


class AddedDocuments:
    """Documents that come after those of ``component``; ``len()`` counts them."""

    def __init__(self, component: Component, lock: threading.Lock) -> None:
        self._component = component
        self._lock = lock
        self._first = component.n_documents
        self._documents: list[npt.NDArray[Any]] = []
        self._origins: dict[int, int] = {}
        self._addresses: list[tuple[str | None, int | None, str | None]] = []

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, tokens: npt.NDArray[Any], shard: str | None, row: int | None, source: str | None) -> int:
        """Add a document, and return its number."""
        self._documents.append(tokens)
        self._addresses.append((shard, row, source))
        return self._first + len(self._documents) - 1

    def add_part(self, tokens: npt.NDArray[Any], document: int) -> int:
        """Add what became of a part of ``document``, under the address of that; return its number."""
        address: tuple[Any, Any, Any] = (None, None, None)
        if self._component.knows_documents:
            table = provenance_of(self._component, self._lock)
            if table is not None:
                found = table.lookup(np.array([document])).to_pylist()[0]
                address = found["shard"], found["row"], found["source"]
        number = self.add(tokens, *address)
        self._origins[number] = document
        return number

    def origin(self, document: int) -> int:
        """Return the document that ``document`` is a part of: itself, unless `add_part` has made it."""
        return self._origins.get(document, document)

    def write(self, directory: Path) -> list[FileEntry]:
        """Write them into ``directory``, if there are any; return the entries of the files."""
        if not self._documents:
            return []
        folder = directory / ADDED_NAME
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / "document.bin") as file:
            for tokens in self._documents:
                file.write(tokens.tobytes())
        sizes = np.array([len(tokens) for tokens in self._documents])
        write_index(folder / "document.idx", self._component.dataset.dtype, sizes)
        names = ["document.bin", "document.idx"]
        if all(shard is not None for shard, _, _ in self._addresses):
            with atomic_write(folder / PROVENANCE_NAME) as file, ProvenanceWriter(file) as writer:
                for tokens, (shard, row, source) in zip(self._documents, self._addresses, strict=True):
                    # What became of a part of a text has no text of its own: its tokens stand for it.
                    digest = text_digest(tokens.tobytes())
                    writer.write(
                        provenance_table(
                            str(shard), [NO_ROW if row is None else row], [source], [len(tokens)], [digest]
                        )
                    )
            names.append(PROVENANCE_NAME)
        return [file_entry(folder / name, f"{ADDED_NAME}/{name}") for name in names]
