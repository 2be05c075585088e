"""BatchViewer: which tokens a step shows to the model, and which documents they are from."""

import hashlib
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import xxhash

from pile_tools.algorithms.check_maps import check_maps
from pile_tools.algorithms.locate import Pieces, byte_ranges, copy_pieces, locate
from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.formats.manifest import canonical_json
from pile_tools.formats.order_files import MapNames, OrderMaps, OrderPlace, find_order
from pile_tools.formats.token_dataset import TokenDataset, sampled_sha256
from pile_tools.lookups.stream import Maps, Progress, no_progress

if TYPE_CHECKING:
    import pyarrow as pa

    from pile_tools.formats.provenance import Provenance
    from pile_tools.lookups.find import Counts

__all__ = ["BatchViewer", "PieceView"]

Tokens = npt.NDArray[Any]
# Beside the dataset, a copy of the tokenizer that made it.
TOKENIZER_NAME: Final = "tokenizer.json"
# An order up to this long is checked whole when it is opened (some 10 ms), a longer one where it is read.
_WHOLE_CHECK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class PieceView:
    """A piece of a document in a sequence, with what is known of it.

    ``position`` of its first token in the sequence, ``offset`` of that token in the document,
    ``n_tokens`` in this sequence, ``document_tokens`` in the whole document; ``shard``, ``row`` and
    ``source`` are None where the dataset has no ``documents.parquet``; ``text`` where no tokenizer is
    known.
    """

    document: int
    position: int
    offset: int
    n_tokens: int
    document_tokens: int
    shard: str | None
    row: int | None
    source: str | None
    text: str | None

    @property
    def last(self) -> int:
        """Number in the document of the piece's last token."""
        return self.offset + self.n_tokens - 1

    @property
    def is_begin(self) -> bool:
        """Whether the document begins here."""
        return self.offset == 0

    @property
    def is_end(self) -> bool:
        """Whether the document ends here."""
        return self.last == self.document_tokens - 1


class BatchViewer:
    """The stream of a token dataset in an order: step ⇄ sequence ⇄ document ⇄ source line.

    Step k reads samples [k·B, (k + 1)·B) of the order. Open one with ``BatchViewer.open``. All arrays
    are in the dataset's own dtype. Reading writes nothing.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        place: OrderPlace,
        *,
        batch_size: int | None = None,
        tokenizer: str | None = None,
    ) -> None:
        self.dataset = dataset
        self.order = place
        record = place.record
        if record is not None:
            _check_belongs(dataset, place)
            self.seq_length, samples = record.seq_length, record.samples
            batch_size = record.batch_size if batch_size is None else batch_size
        else:
            names = MapNames.parse(place.label)
            if names is None:
                raise ParameterError(f"{place.name}: the name does not say the sequence length")
            self.seq_length, samples = names.seq_length, names.num_samples
        if batch_size is None:
            raise ParameterError(
                f"{place.name}: maps that record no batch size; give it with --batch-size (batch_size=)"
            )
        if batch_size < 1:
            raise ParameterError(f"batch_size {batch_size} must be at least 1")
        self.batch_size = batch_size
        self._maps = OrderMaps.open(place)
        if self._maps.n_samples < samples:
            raise DataError(f"{place.name}: {self._maps.n_samples} samples, but its name says {samples}")
        if len(self._maps.doc_idx) + self._maps.n_samples <= _WHOLE_CHECK:
            self._check_maps()
        self.samples = samples
        self._tokenizer_name = tokenizer
        self._loaded: dict[str, Any] = {}

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        order: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        tokenizer: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Open the token dataset at ``location`` (directory or prefix) with an order.

        ``order`` names one where there are several (see ``formats.order_files.find_order``);
        ``batch_size`` reads the order at another batch size than the one recorded with it, and is
        needed for maps that another tool saved; ``tokenizer`` is a ``tokenizer.json`` or a Hub id, by
        default the one in the dataset's directory.

        Raises PileToolsError for what is not there, DataError for what is damaged or does not belong
        together, ParameterError where something must be named.
        """
        dataset = TokenDataset.open(location)
        name = None if tokenizer is None else os.fspath(tokenizer)
        return cls(dataset, find_order(dataset.prefix, order), batch_size=batch_size, tokenizer=name)

    @property
    def steps(self) -> int:
        """Number of whole batches in the stream; a last, partial one is not read in training."""
        return self.samples // self.batch_size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.dataset.dtype

    @property
    def identity(self) -> str:
        """SHA-256 that names dataset and order by content, 64 hexadecimal digits.

        It is the same for every batch size, and however the dataset is cut into shards.
        """
        if "identity" not in self._loaded:
            maps = self._maps
            arrays = {"doc_idx": maps.doc_idx, "sample_idx": maps.sample_idx, "shuffle_idx": maps.shuffle_idx}
            value = {
                "format": "pile-tools stream 1",
                "dataset": self.dataset.identity,
                "seq_length": self.seq_length,
                "order": {
                    name: [
                        array.dtype.name,
                        list(array.shape),
                        sampled_sha256([array.reshape(-1).view(np.uint8)]),
                    ]
                    for name, array in arrays.items()
                },
            }
            self._loaded["identity"] = hashlib.sha256(canonical_json(value)).hexdigest()
        identity: str = self._loaded["identity"]
        return identity

    def batch(self, step: int) -> Tokens:
        """Return the tokens of ``step``, [batch_size, seq_length + 1]. OutOfRangeError past the last."""
        first = self._first(step)
        return self._tokens(self._maps.shuffle_idx[first : first + self.batch_size])

    def inputs_labels(self, step: int) -> tuple[Tokens, Tokens]:
        """Return inputs and labels of ``step``, two views [batch_size, seq_length] of one array."""
        batch = self.batch(step)
        return batch[:, :-1], batch[:, 1:]

    def batches(self, start: int, stop: int) -> Iterator[Tokens]:
        """Iterate over the batches of steps [start, stop)."""
        start, stop = operator.index(start), operator.index(stop)
        if start < stop:
            self._first(start)
            self._first(stop - 1)
        return (self.batch(step) for step in range(start, stop))

    def rank_batch(
        self, step: int, *, rank: int, world_size: int, micro_batch_size: int | None = None
    ) -> Tokens:
        """Return what data-parallel rank ``rank`` of ``world_size`` reads in ``step``.

        [batch_size / world_size, seq_length + 1]: its micro-batches one after the other, where
        micro-batch g holds samples k·B + g·m·D + r·m + [0, m). Without ``micro_batch_size`` there is
        one. As GPT-NeoX's samplers do.
        """
        size = (
            self.batch_size // world_size if micro_batch_size is None and world_size > 0 else micro_batch_size
        )
        if world_size < 1 or not 0 <= rank < world_size:
            raise ParameterError(f"rank {rank} is not one of {world_size} ranks, from 0")
        if size is None or size < 1 or self.batch_size % (size * world_size):
            raise ParameterError(
                f"a batch of {self.batch_size} does not divide into micro-batches of {size} "
                f"on {world_size} ranks"
            )
        starts = np.arange(0, self.batch_size, size * world_size) + rank * size
        rows = (starts[:, None] + np.arange(size)).reshape(-1)
        return self._tokens(self._maps.shuffle_idx[self._first(step) + rows])

    def sequence(self, step: int, row: int) -> Tokens:
        """Return row ``row`` of ``step``, [seq_length + 1]."""
        tokens: Tokens = self._tokens(self._sample(step, row))[0]
        return tokens

    def text(self, step: int, row: int) -> str:
        """Return the text of a sequence; U+FFFD where it begins or ends inside a character."""
        return self._decode(self.sequence(step, row))

    def digest(self, step: int) -> str:
        """Return XXH3-128 of the bytes of ``batch(step)`` (C order, little endian), 32 hexadecimal digits."""
        return xxhash.xxh3_128_hexdigest(self.batch(step).data)

    def trace(self, step: int, row: int) -> "pa.Table":
        """Return the pieces of documents of a sequence, in order of position, as an Arrow table.

        Columns: document (int64), position, offset, n_tokens (int64), shard (string), row (int64),
        source (string); the last three are null where the dataset has no ``documents.parquet``.
        Raises DataError where that file does not belong to the dataset.
        """
        import pyarrow as pa

        pieces = self._pieces(self._sample(step, row))
        provenance = self._provenance()
        if provenance is None:
            address = [
                pa.nulls(len(pieces.document), kind) for kind in (pa.string(), pa.int64(), pa.string())
            ]
        else:
            found = provenance.lookup(pieces.document, ("shard", "row", "source"))
            address = [found.column(0).cast(pa.string()), found.column(1), found.column(2).cast(pa.string())]
        columns = [pieces.document, pieces.position, pieces.offset, pieces.n_tokens, *address]
        names = ["document", "position", "offset", "n_tokens", "shard", "row", "source"]
        return pa.table(columns, names=names)

    def pieces(self, step: int, row: int) -> list[PieceView]:
        """Return the pieces of a sequence with their texts, to be shown (see ``PieceView``)."""
        tokens = self.sequence(step, row)
        views = []
        for piece in self.trace(step, row).to_pylist():
            start, stop = piece["position"], piece["position"] + piece["n_tokens"]
            text = self._decode(tokens[start:stop]) if self.has_tokenizer else None
            size = int(self.dataset.index.sizes[piece["document"]])
            views.append(PieceView(**piece, document_tokens=size, text=text))
        return views

    @property
    def has_tokenizer(self) -> bool:
        """Whether a tokenizer was given or lies beside the dataset."""
        return self._tokenizer_name is not None or (self.dataset.directory / TOKENIZER_NAME).is_file()

    def _first(self, step: int) -> int:
        """Return the first sample of ``step``, counted in the stream."""
        step = operator.index(step)
        if not 0 <= step < self.steps:
            last = f"the last is {self.steps - 1}" if self.steps else "there is not one whole batch"
            raise OutOfRangeError(
                f"{self.order.name}: no step {step} at batch size {self.batch_size}; {last}"
            )
        return step * self.batch_size

    def _sample(self, step: int, row: int) -> npt.NDArray[Any]:
        first, row = self._first(step), operator.index(row)
        if not 0 <= row < self.batch_size:
            raise OutOfRangeError(f"{self.order.name}: no row {row} in a batch of {self.batch_size}, from 0")
        return self._maps.shuffle_idx[first + row : first + row + 1]

    def _check_maps(self) -> None:
        maps = self._maps
        try:
            check_maps(
                self.dataset.index.sizes, maps.doc_idx, maps.sample_idx, maps.shuffle_idx, self.seq_length
            )
        except DataError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: DataError) -> DataError:
        return DataError(f"{self.order.name}: {error}; the order is damaged or of another dataset")

    def _pieces(self, samples: npt.NDArray[Any]) -> Pieces:
        maps, index = self._maps, self.dataset.index
        try:
            return locate(samples, maps.sample_idx, maps.doc_idx, index.sizes, self.seq_length)
        except DataError as error:
            raise DataError(
                f"{self.order.name}: {error}; the order is damaged or of another dataset"
            ) from None

    def _tokens(self, samples: npt.NDArray[Any]) -> Tokens:
        dataset, pieces = self.dataset, self._pieces(samples)
        itemsize = self.dtype.itemsize
        try:
            starts, lengths = byte_ranges(
                pieces, dataset.index.pointers, dataset.index.sizes, itemsize, int(dataset.part_starts[-1])
            )
        except DataError as error:
            raise DataError(f"{dataset.index.path}: {error}") from None
        out = np.empty((len(samples), self.seq_length + 1), self.dtype)
        targets = (pieces.row * (self.seq_length + 1) + pieces.position) * itemsize
        for part, start in zip(dataset.parts, dataset.part_starts, strict=False):
            copy_pieces(part, start, starts, lengths, targets, out.reshape(-1).view(np.uint8))
        return out

    def _decode(self, tokens: Tokens) -> str:
        if "tokenizer" not in self._loaded:
            self._loaded["tokenizer"] = self._load_tokenizer()
        tokenizer, max_id = self._loaded["tokenizer"]
        ids = tokens.tolist()
        largest = max(ids, default=0)
        if largest > max_id:
            raise DataError(
                f"{self.dataset.prefix}: token {largest}, but the tokenizer's largest is {max_id}; "
                "give the tokenizer that made the dataset"
            )
        text: str = tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def _load_tokenizer(self) -> tuple[Any, int]:
        """Return the tokenizer and its largest id."""
        from pile_tools.formats.tokenizer import read_tokenizer

        given = self._tokenizer_name
        if given is None:
            path = self.dataset.directory / TOKENIZER_NAME
            if not path.is_file():
                raise ParameterError(
                    f"{path}: no tokenizer beside the dataset; give one with --tokenizer (tokenizer=)"
                )
            given = str(path)
        found = read_tokenizer(given, allow_id_gaps=True)
        manifest = self.dataset.manifest
        recorded = manifest.parameters["tokenizer"]["sha256"] if manifest else found.sha256
        if found.sha256 != recorded:
            raise DataError(
                f"{found.path}: SHA-256 {found.sha256[:12]}…, but the token dataset was made with "
                f"{recorded[:12]}…; give the tokenizer that made it"
            )
        return found.load(), found.max_id

    def _provenance(self) -> "Provenance | None":
        if "provenance" not in self._loaded:
            from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance

            path = self.dataset.directory / PROVENANCE_NAME
            provenance = Provenance(path) if path.is_file() else None
            if provenance is not None and len(provenance) != self.dataset.n_sequences:
                raise DataError(
                    f"{path}: {len(provenance)} documents, but the token dataset beside it has "
                    f"{self.dataset.n_sequences}"
                )
            self._loaded["provenance"] = provenance
        found: Provenance | None = self._loaded["provenance"]
        return found

    @property
    def name(self) -> str:
        return self.order.name

    @property
    def first_step(self) -> int:
        return 0

    @property
    def parts(self) -> "tuple[_Part, ...]":
        """The datasets of the stream, as the lookups see them."""
        return (_Part(self),)

    def samples_at(
        self, positions: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        return np.zeros_like(positions), positions

    def occurrences(
        self,
        document: int | None = None,
        *,
        documents: "Sequence[int] | npt.NDArray[Any] | None" = None,
        shard: str | None = None,
        row: int | None = None,
        dataset: int | None = None,
        world_size: int | None = None,
        micro_batch_size: int | None = None,
    ) -> "pa.Table":
        """Return every piece in which the stream shows a document, in stream order, as an Arrow table.

        The document is given by number (``document``) or by where it came from (``shard`` and ``row``);
        ``documents`` asks for several at once. ``dataset`` is the number of the dataset in a blend.
        Columns, all int64: step, row, position, offset, n_tokens as in ``trace``, and epoch: which of the
        document's places in doc_idx, counted from 0, the piece is from. For ``documents``, document comes
        first; with ``world_size`` (and ``micro_batch_size``), the data-parallel rank last.
        """
        from pile_tools.lookups.occurrences import document_at, occurrences, the_part

        given = [document is not None, documents is not None, shard is not None or row is not None]
        if sum(given) != 1:
            raise ParameterError("name the document by its number, or by shard and row")
        if shard is not None or row is not None:
            if shard is None or row is None:
                raise ParameterError("a shard and a row name a document together; give both")
            document = document_at(the_part(self, dataset), shard, row)
        wanted = document if documents is None else documents
        assert wanted is not None
        return occurrences(
            self,
            wanted,
            dataset=dataset,
            world_size=world_size,
            micro_batch_size=micro_batch_size,
        )

    def find(
        self,
        text: "str | Sequence[str] | None" = None,
        *,
        tokens: "Sequence[int] | Sequence[Sequence[int]] | None" = None,
        regex: str | None = None,
        steps: tuple[int | None, int | None] | None = None,
        first: bool = False,
        limit: int | None = None,
        context: int = 60,
        progress: Progress = no_progress,
    ) -> "pa.Table":
        """Return where the stream shows a text, token ids or matches of a regular expression.

        A text is found wherever it is in the decoded text of a sequence, at any alignment with the tokens
        and after a space or not; a regular expression is applied to that text; ``tokens`` is one sequence of
        ids, or several. A match lies in one sequence and may cross the documents in it; matches of texts
        and tokens may overlap. ``steps`` (start, stop) restricts the search, ``first`` and ``limit`` the
        answer; ``context`` is how many characters are given before and after.

        An Arrow table in training order: step, row, position of the first token that the match touches,
        n_tokens (int64), pattern (string), document, offset, source, shard, shard_row of the document that
        it begins in (null where not known), before, match, after (string, null without a tokenizer).
        """
        from pile_tools.lookups.find import find, make_query

        query = make_query(text, tokens, regex)
        return find(
            self,
            query,
            steps=steps,
            first=first,
            limit=limit,
            context=context,
            progress=progress,
        )

    def count(
        self,
        text: "str | Sequence[str] | None" = None,
        *,
        tokens: "Sequence[int] | Sequence[Sequence[int]] | None" = None,
        regex: str | None = None,
        steps: tuple[int | None, int | None] | None = None,
        every: int | None = None,
        progress: Progress = no_progress,
    ) -> "Counts":
        """Count what ``find`` finds, up to each multiple of ``every`` steps and up to the last.

        ``table`` of the result has the columns checkpoint, pattern and count: occurrences in the steps
        before the checkpoint, from the first of ``steps`` on; ``first_step`` says where each pattern is
        first.
        """
        from pile_tools.lookups.find import count_occurrences, make_query

        query = make_query(text, tokens, regex)
        return count_occurrences(self, query, steps=steps, every=every, progress=progress)


class _Part:
    number = None

    def __init__(self, viewer: BatchViewer) -> None:
        self.viewer = viewer
        self.name = str(viewer.dataset.prefix)
        self.samples = viewer.steps * viewer.batch_size
        self.n_tokens = viewer.dataset.n_tokens
        self.dtype = viewer.dtype
        self.n_documents = viewer.dataset.n_sequences

    def maps(self) -> Maps:
        maps, index = self.viewer._maps, self.viewer.dataset.index
        return Maps(maps.doc_idx, maps.sample_idx, maps.shuffle_idx, index.sizes, index.pointers)

    def read(self, start: int, stop: int) -> Tokens:
        from pile_tools.formats.token_dataset import _bytes_between

        size = self.dtype.itemsize
        if len(self.viewer.dataset.parts) == 1:
            tokens: Tokens = self.viewer.dataset.parts[0][start * size : stop * size].view(self.dtype)
            return tokens
        content = _bytes_between(list(self.viewer.dataset.parts), start * size, stop * size)
        return np.frombuffer(content, self.dtype)

    def tokens(self, samples: npt.NDArray[np.int64]) -> Tokens:
        return self.viewer._tokens(self.viewer._maps.shuffle_idx[samples])

    def pieces(self, samples: npt.NDArray[np.int64]) -> Pieces:
        return self.viewer._pieces(self.viewer._maps.shuffle_idx[samples])

    def positions(self, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.where(samples < self.samples, samples, -1)

    def provenance(self) -> "Provenance | None":
        return self.viewer._provenance()

    def tokenizer(self) -> tuple[Any, int]:
        return self.viewer._load_tokenizer()


def _check_belongs(dataset: TokenDataset, place: OrderPlace) -> None:
    """Refuse an order whose record names another token dataset."""
    record = place.record
    if record is None:
        return
    manifest = dataset.manifest.identity if dataset.manifest else None
    pairs = [(record.dataset, dataset.identity)]
    if record.manifest is not None and manifest is not None:
        pairs.append((record.manifest, manifest))
    for made_for, found in pairs:
        if made_for != found:
            raise DataError(
                f"{place.name}: an order of another token dataset ({made_for[:12]}…) than {dataset.prefix} "
                f"({found[:12]}…); make one for it with `pile-tools order`"
            )
