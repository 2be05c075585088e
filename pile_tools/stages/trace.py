"""Where the pieces of a sequence came from: back through every stage, and down to the text itself.

A text is read again in the shard that was tokenized, and proved by its hash and by its tokens.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError, ParameterError
from pile_tools.formats.history import History
from pile_tools.formats.locations import ShardFinder
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest
from pile_tools.formats.provenance import PROVENANCE_NAME, Provenance, text_digest
from pile_tools.formats.row_lookup import read_text
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

    ``addresses``: where the stages behind the dataset read the document, the tokenization first and the
    earliest known stage last; none for a dataset of another tool. ``span`` its text, when asked for.
    """

    position: int
    n_tokens: int
    document: int
    offset: int
    shard: str | None
    row: int | None
    source: str | None
    addresses: tuple[Address, ...]
    span: Span | None

    @property
    def original(self) -> Address | None:
        """The address in the earliest known corpus, where that is not the one that was tokenized."""
        return self.addresses[-1] if len(self.addresses) > 1 else None


def trace_pieces(
    directory: Path,
    table: "pa.Table",
    tokens: npt.NDArray[Any],
    *,
    context: int | None = None,
    corpora: Sequence[str | os.PathLike[str]] = (),
) -> list[TracedPiece]:
    """Follow the pieces of the sequence ``tokens`` of the token dataset in ``directory``.

    ``table`` is what `BatchViewer.trace` gives for it. With ``context`` not None the text of each piece
    is read, with so many characters before and after, in ``corpora`` (see `SourceTexts`).
    """
    history = History.open(directory) if (directory / MANIFEST_NAME).is_file() else None
    texts = None if context is None else SourceTexts(directory, corpora)
    found = []
    for piece in table.to_pylist():
        chain: list[Address] = []
        if history is not None and piece["shard"] is not None:
            chain = addresses(history, piece["shard"], piece["row"])
        span = None
        if texts is not None and context is not None:
            part = tokens[piece["position"] : piece["position"] + piece["n_tokens"]]
            span = texts.span(piece["document"], piece["offset"], part, context)
        found.append(TracedPiece(**piece, addresses=tuple(chain), span=span))
    return found


class SourceTexts:
    """Texts of the documents of a token dataset, from the corpus that was tokenized.

    ``directory`` is what `pile-tools tokenize` wrote; ``corpora`` are files, directories or patterns of
    the corpus, by default where it lay then. Raises PileToolsError where the dataset has no provenance.
    """

    def __init__(self, directory: Path, corpora: Sequence[str | os.PathLike[str]] = ()) -> None:
        self._manifest = Manifest.read(directory)
        if self._manifest.stage != "tokenize":
            raise ParameterError(f"{directory}: made by `pile-tools {self._manifest.stage}`, not tokenize")
        self._provenance = Provenance(directory / PROVENANCE_NAME)
        self._finder = ShardFinder(directory, corpora)
        self._entries = {entry.name: entry for entry in self._manifest.inputs}
        self._tokenizer = read_tokenizer(str(directory), allow_id_gaps=True).load()
        self._directory = directory

    def text(self, document: int) -> str:
        """Return the text of ``document``; DataError where the corpus no longer holds it."""
        address = self._provenance.lookup(document, ("shard", "row", "text_xxh3_128")).to_pylist()[0]
        entry = self._entries.get(address["shard"])
        if entry is None:
            raise DataError(
                f"{self._directory / PROVENANCE_NAME}: shard {address['shard']!r} is not among the inputs "
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

    def span(self, document: int, offset: int, tokens: npt.NDArray[Any], context: int) -> Span:
        """Return the text of the ``tokens`` of ``document`` from its token ``offset`` on.

        ``context`` is how many characters to give before and after. An appended EOD token has no
        text. Raises DataError where the text does not give these tokens.
        """
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
                f"{self._directory}: document {document} does not have these tokens at {offset}; "
                "check the dataset with `pile-tools verify`"
            )
        places = encoding.offsets[offset : offset + len(ids)]
        start, stop = (places[0][0], places[-1][1]) if places else (len(text), len(text))
        return Span(text[max(0, start - context) : start], text[start:stop], text[stop : stop + context])
