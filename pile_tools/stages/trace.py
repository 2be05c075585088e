"""Where the pieces of a sequence came from: back through every stage, and down to the text itself.

A text is read again in the shard that was tokenized, and proved by its hash and by its tokens.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.history import History
from pile_tools.formats.locations import ShardFinder
from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance, text_digest
from pile_tools.formats.row_lookup import read_text
from pile_tools.formats.sources import SourceFile
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.formats.tokenizer import read_tokenizer
from pile_tools.stages.lineage import Address, addresses

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SourceTexts", "Span", "TracedPiece", "trace_pieces"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a document as its text has it, with what stands before and after."""

    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class TracedPiece:
    """A piece of a document in a sequence (see `BatchViewer.trace`) and all that is known of its origin.

    ``dataset`` is the number of the token dataset in a blend, None where there is one. ``addresses``:
    where the stages behind the dataset read the document, the tokenization first and the earliest known
    stage last; none for a dataset of another tool. ``span`` its text, when asked for.
    """

    position: int
    n_tokens: int
    document: int | None
    offset: int | None
    shard: str | None
    row: int | None
    source: str | None
    addresses: tuple[Address, ...]
    span: Span | None
    dataset: int | None = None

    @property
    def original(self) -> Address | None:
        """The address in the earliest known corpus, where that is not the one that was tokenized."""
        return self.addresses[-1] if len(self.addresses) > 1 else None


class TracedPart(Protocol):
    """A token dataset as a stream reads it (`BatchViewer.parts`)."""

    @property
    def name(self) -> str: ...

    @property
    def dataset(self) -> TokenDataset | None:
        """The dataset; None where only steps of it were fetched."""

    def history(self) -> History | None:
        """Return what the dataset was made from; None of one of another tool."""


def trace_pieces(
    parts: Sequence[TracedPart],
    table: "pa.Table",
    tokens: npt.NDArray[Any],
    *,
    context: int | None = None,
    corpora: Sequence[str | os.PathLike[str]] = (),
    tokenizer: str | None = None,
) -> list[TracedPiece]:
    """Follow the pieces of the sequence ``tokens`` to where they came from.

    ``parts`` are those of the stream and ``table`` is what `BatchViewer.trace` gives for the sequence. With
    ``context`` not None the text of each piece is read, with so many characters before and after, in
    ``corpora`` (see `SourceTexts`). Raises PileToolsError for texts of steps that were fetched.
    """
    histories: dict[int, History | None] = {}
    texts: dict[int, SourceTexts] = {}
    found = []
    for piece in table.to_pylist():
        number = piece.get("dataset") or 0
        part = parts[number]
        if number not in histories:
            histories[number] = part.history()
        chain: list[Address] = []
        history, span = histories[number], None
        # What an overlay shows of a file has no row, and was in no corpus.
        if history is not None and piece["row"] is not None:
            chain = addresses(history, piece["shard"], piece["row"])
        if context is not None:
            if number not in texts:
                if part.dataset is None:
                    raise PileToolsError(
                        f"{part.name}: fetched steps name the shard and row of a piece, but do not carry the "
                        "hash that proves its text; trace it in the dataset that they were fetched from"
                    )
                texts[number] = SourceTexts(part.dataset, corpora, tokenizer)
            ids = tokens[piece["position"] : piece["position"] + piece["n_tokens"]]
            span = texts[number].span(piece["document"], piece["offset"], ids, context)
        found.append(TracedPiece(**piece, addresses=tuple(chain), span=span))
    return found


class SourceTexts:
    """Texts of the documents of a token dataset, from the corpus that was tokenized.

    ``dataset`` is what `pile-tools tokenize` wrote; ``corpora`` are files, directories or patterns of
    the corpus, by default where it lay then; ``tokenizer`` a file or Hub id, by default the one beside
    the dataset. Raises PileToolsError where the dataset has no provenance.
    """

    def __init__(
        self,
        dataset: TokenDataset,
        corpora: Sequence[str | os.PathLike[str]] = (),
        tokenizer: str | None = None,
    ) -> None:
        store, manifest = dataset.store, dataset.manifest
        if manifest is None:
            raise PileToolsError(f"{dataset.name}: not made by `pile-tools tokenize`, so no source is known")
        if tokenizer is None and store.path is None:
            raise ParameterError(f"{dataset.name}: behind a URL; name its tokenizer with --tokenizer")
        self._manifest = manifest
        file: Any = SourceFile(dataset.open_beside(PROVENANCE_NAME))
        self._provenance = Provenance(file, f"{store.name}/{PROVENANCE_NAME}")
        self._finder = ShardFinder(store, corpora)
        self._entries = {entry.name: entry for entry in manifest.inputs}
        self._tokenizer = read_tokenizer(tokenizer or str(store.path), allow_id_gaps=True).load()
        self._name = dataset.name

    def text(self, document: int) -> str:
        """Return the text of ``document``; DataError where the corpus no longer holds it."""
        if document >= len(self._provenance):
            raise PileToolsError(
                f"{self._name}: document {document} was made by an overlay and is no text of the corpus; "
                "leave --text out"
            )
        address = self._provenance.lookup(document, ("shard", "row", "text_xxh3_128")).to_pylist()[0]
        entry = self._entries.get(address["shard"])
        if entry is None:
            raise DataError(
                f"{self._provenance.name}: shard {address['shard']!r} is not among the inputs "
                "of the manifest beside it"
            )
        shard = self._finder.find(entry)
        text = read_text(shard, address["row"], self._manifest.parameters["text_field"])
        if text_digest(text) != address["text_xxh3_128"]:
            raise DataError(
                f"{shard.path}:{address['row']}: another text than was tokenized; "
                "name the corpus as it was with `--corpus`"
            )
        return text.decode()

    def span(self, document: int | None, offset: int | None, tokens: npt.NDArray[Any], context: int) -> Span:
        """Return the text of the ``tokens`` of ``document`` from its token ``offset`` on.

        ``context`` is how many characters to give before and after. An appended EOD token has no
        text. Raises DataError where the text does not give these tokens.
        """
        if document is None or offset is None:
            raise PileToolsError(f"{self._name}: which document these tokens are from is not known")
        text = self.text(document)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = np.array(encoding.ids, np.int64)[offset : offset + len(tokens)]
        appended = len(tokens) - len(ids)
        eod = self._manifest.parameters["eod_id"]
        if (
            appended not in (0, 1)
            or (appended and tokens[-1] != eod)
            or not np.array_equal(ids, tokens[: len(ids)])
        ):
            raise DataError(
                f"{self._name}: document {document} does not have these tokens at {offset}; "
                "check the dataset with `pile-tools verify`"
            )
        places = encoding.offsets[offset : offset + len(ids)]
        start, stop = (places[0][0], places[-1][1]) if places else (len(text), len(text))
        return Span(text[max(0, start - context) : start], text[start:stop], text[stop : stop + context])
