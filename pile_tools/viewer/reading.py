"""What is said of tokens: their text, and the documents that they are from."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pile_tools.algorithms import locate
from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.overlay import NO_ROW
from pile_tools.formats.sources import MissingFileError, SourceFile
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.viewer.components import UNKNOWN, Component, Tokens
from pile_tools.viewer.overlay import OverlayComponent

if TYPE_CHECKING:
    import pyarrow as pa

    from pile_tools.formats.provenance import Provenance
    from pile_tools.formats.tokenizer import TokenizerFile

__all__ = ["Decoder", "DocumentTable", "Pieces", "Table", "provenance_of"]

# A copy of the tokenizer that made the dataset lies beside it.
_TOKENIZER_NAME: Final = "tokenizer.json"


class Decoder:
    """Tokens of ``dataset`` to text, by the tokenizer ``given`` or the one beside the dataset."""

    def __init__(self, dataset: TokenDataset, given: str | None) -> None:
        self._dataset = dataset
        self._given = given
        self._loaded: tuple[Any, int] | None = None
        self._is_known: bool | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is a tokenizer."""
        if self._is_known is None:
            self._is_known = self._given is not None or self._lies_beside()
        return self._is_known

    def _lies_beside(self) -> bool:
        try:
            self._dataset.store.open(_TOKENIZER_NAME)
        except MissingFileError:
            return False
        return True

    def __call__(self, tokens: Tokens) -> str:
        """Return the text; DataError where the tokenizer is not of this dataset."""
        tokenizer, max_id = self.tokenizer()
        ids = tokens.tolist()
        largest = max(ids, default=0)
        if largest > max_id:
            raise DataError(
                f"{self._dataset.name}: token {largest}, but the tokenizer's largest is {max_id}; "
                "give the tokenizer that made the dataset"
            )
        text: str = tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def tokenizer(self) -> tuple[Any, int]:
        """Return the tokenizer of the `tokenizers` library and its largest id; ParameterError without one."""
        self._loaded = self._loaded or self._load()
        return self._loaded

    def _load(self) -> tuple[Any, int]:
        """Return the tokenizer and its largest id."""
        found = self.file()
        return found.load(), found.max_id

    def file(self) -> "TokenizerFile":
        """Return the tokenizer's file; DataError where it is not the one that made the dataset."""
        from pile_tools.formats.tokenizer import parse_tokenizer, read_tokenizer

        if self._given is not None:
            found = read_tokenizer(self._given, allow_id_gaps=True)
        else:
            name = f"{self._dataset.store.name}/{_TOKENIZER_NAME}"
            content = self._dataset.store.read(_TOKENIZER_NAME)
            if content is None:
                raise ParameterError(
                    f"{name}: no tokenizer beside the dataset; give one with --tokenizer (tokenizer=)"
                )
            found = parse_tokenizer(content, Path(name), allow_id_gaps=True)
        manifest = self._dataset.manifest
        recorded = manifest.parameters["tokenizer"]["sha256"] if manifest else found.sha256
        if self._given is None and self._dataset.recorded is not None:  # fetched along with the steps
            listed = {entry.name: entry.sha256 for entry in self._dataset.recorded[1]}
            recorded = listed.get(_TOKENIZER_NAME, recorded)
        if found.sha256 != recorded:
            raise DataError(
                f"{found.path}: SHA-256 {found.sha256[:12]}…, but the token dataset was made with "
                f"{recorded[:12]}…; give the tokenizer that made it"
            )
        return found


class DocumentTable:
    """``documents.parquet`` beside a dataset, read by one thread at a time."""

    def __init__(self, provenance: "Provenance", lock: threading.Lock) -> None:
        self._provenance = provenance
        self._lock = lock

    @property
    def name(self) -> str:
        return self._provenance.name

    def lookup(self, documents: Any, columns: Sequence[str] = ("shard", "row", "source")) -> "pa.Table":
        """Return the rows of ``documents``; see ``Provenance.lookup``."""
        with self._lock:
            return self._provenance.lookup(documents, columns)

    def document_of(self, shard: str, row: int) -> int | None:
        """Return the number of the document from (``shard``, ``row``), None where there is none."""
        with self._lock:
            return self._provenance.document_of(shard, row)

    def sources(self) -> tuple[str | None, ...]:
        """Return the sources of all documents by name, None last where some documents have none."""
        names: set[str | None] = set()
        with self._lock:
            for table in self._provenance.tables(["source"]):
                names.update(table.column(0).unique().to_pylist())
        return tuple(sorted(names, key=lambda name: (name is None, name)))

    def column(self, name: str) -> "pa.ChunkedArray":
        """Return a column of all documents."""
        import pyarrow as pa

        with self._lock:
            tables = list(self._provenance.tables([name]))
        return pa.concat_tables(tables).column(0) if tables else pa.chunked_array([], pa.string())


class AddedDocuments:
    """Addresses of the parent's documents, and after them of those that an overlay has added."""

    def __init__(self, below: "Table | None", added: "Table | None", first: int) -> None:
        self._below = below
        self._added = added
        self._first = first

    @property
    def name(self) -> str:
        """The file with the parent's documents, or the one with those that were added."""
        return next(table.name for table in (self._below, self._added) if table is not None)

    def document_of(self, shard: str, row: int) -> int | None:
        """Return the parent's document from (``shard``, ``row``), None where there is none."""
        return None if self._below is None else self._below.document_of(shard, row)

    def sources(self) -> tuple[str | None, ...]:
        """Return the sources of the parent's documents."""
        return () if self._below is None else self._below.sources()

    def column(self, name: str) -> "pa.ChunkedArray":
        """Return a column of all documents."""
        import pyarrow as pa

        count = self._first + (0 if self._added is None else len(self._added.column(name)))
        return pa.chunked_array([self.lookup(np.arange(count), [name]).column(0).combine_chunks()])

    def lookup(self, documents: Any, columns: Sequence[str] = ("shard", "row", "source")) -> "pa.Table":
        """Return ``columns`` of ``documents``; null where they are not recorded."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = np.asarray(documents, np.int64)
        own = wanted >= self._first
        kinds = {"shard": pa.string(), "row": pa.int64(), "source": pa.string()}
        schema = pa.schema([(name, kinds[name]) for name in columns])
        parts = []
        for table, numbers in ((self._below, wanted[~own]), (self._added, wanted[own] - self._first)):
            if table is not None:
                found = table.lookup(numbers).select(schema.names).cast(schema)
                if "row" in schema.names:
                    row = found.column("row")
                    row = pc.if_else(pc.equal(row, NO_ROW), pa.scalar(None, pa.int64()), row)
                    found = found.set_column(schema.get_field_index("row"), schema.field("row"), row)
                parts.append(found)
            else:
                parts.append(
                    pa.table([pa.nulls(len(numbers), field.type) for field in schema], schema=schema)
                )
        back = np.argsort(np.concatenate([np.flatnonzero(~own), np.flatnonzero(own)]))
        return pa.concat_tables(parts).combine_chunks().take(pa.array(back))


Table = DocumentTable | AddedDocuments


def provenance_of(component: Component, lock: threading.Lock) -> Table | None:
    """Return the table of documents beside the dataset of ``component``, opened once; None without one."""
    if not isinstance(component, OverlayComponent):
        return _table_of(component.dataset, lock)
    below = provenance_of(component.parent, lock)
    if component.added is None:
        return below
    return AddedDocuments(below, _table_of(component.added, lock), component.parent.n_documents)


def _table_of(dataset: TokenDataset, lock: threading.Lock) -> DocumentTable | None:
    with lock:
        if "provenance" not in dataset.opened:
            dataset.opened["provenance"] = _open_provenance(dataset)
        found = dataset.opened["provenance"]
    return None if found is None else DocumentTable(found, lock)


def _open_provenance(dataset: TokenDataset) -> "Provenance | None":
    from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance

    try:
        source = dataset.open_beside(PROVENANCE_NAME)
    except MissingFileError:
        return None
    file: Any = SourceFile(source)
    provenance = Provenance(file, source.name)
    if len(provenance) != dataset.n_sequences:
        raise DataError(
            f"{source.name}: {len(provenance)} documents, but the token dataset beside it has "
            f"{dataset.n_sequences}"
        )
    return provenance


class Pieces:
    """The pieces of sequences."""

    def __init__(self, found: locate.Pieces) -> None:
        self.found = found

    def of_row(self, row: int) -> "Pieces":
        """Return the pieces of one of the sequences."""
        found = self.found
        start, stop = np.searchsorted(found.row, [row, row + 1]).tolist()
        arrays = (found.row, found.position, found.document, found.offset, found.n_tokens)
        return Pieces(locate.Pieces(*(array[start:stop] for array in arrays)))

    def table(self, provenance: Table | None, dataset: int | None) -> "pa.Table":
        """Return the Arrow table of ``BatchViewer.trace``."""
        import pyarrow as pa

        found = self.found
        known = found.document != UNKNOWN
        if provenance is None or not known.all():
            address = [pa.nulls(len(known), kind) for kind in (pa.string(), pa.int64(), pa.string())]
        else:
            rows = provenance.lookup(found.document)
            address = [rows.column(0).cast(pa.string()), rows.column(1), rows.column(2).cast(pa.string())]
        columns: dict[str, Any] = {} if dataset is None else {"dataset": np.full(len(known), dataset)}
        columns |= {
            "document": pa.array(found.document, mask=~known),
            "position": found.position,
            "offset": pa.array(found.offset, mask=found.offset == UNKNOWN),
            "n_tokens": found.n_tokens,
            "shard": address[0],
            "row": address[1],
            "source": address[2],
        }
        return pa.table(columns)
