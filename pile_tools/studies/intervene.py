"""Counterfactual streams: what a stream would be if words were others, or documents elsewhere or not there.

The result is an overlay (``formats.overlay``): it holds what changes and no copy of the tokens, and
``BatchViewer`` opens it like any dataset. Biderman et al. 2023 swap masculine for feminine pronouns in the
last 7 % and 21 % of training, and train those again.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tokenizers

from pile_tools.algorithms.repack import Piece, cut, exchange, fill, rebuild
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest, file_entry, sha256_file
from pile_tools.formats.map_files import write_array
from pile_tools.formats.names import name_problem
from pile_tools.formats.order_files import find_order
from pile_tools.formats.overlay import (
    DOCUMENTS_NAME,
    OVERLAY_NAME,
    PIECES_NAME,
    SAMPLES_NAME,
    OverlayRecord,
    ParentPlace,
)
from pile_tools.formats.tokenizer import TOKENIZER_NAME, TokenizerFile, read_tokenizer
from pile_tools.formats.urls import is_url, without_credentials
from pile_tools.stages.executor import Progress, no_progress
from pile_tools.stages.workspace import Workspace
from pile_tools.studies.added import AddedDocuments
from pile_tools.studies.retokenize import CONTEXT_TOKENS, Retokenizer
from pile_tools.studies.selection import is_file_selection, select_documents
from pile_tools.studies.stacked import refuse_retokenised, refuse_shown_again
from pile_tools.studies.swap_table import ResolvedTable, read_swap_table, resolve
from pile_tools.viewer.components import UNKNOWN, Component
from pile_tools.viewer.opening import Stream, open_stream
from pile_tools.viewer.overlay import OverlayComponent

__all__ = ["Change", "Intervention", "intervene"]

STAGE: Final = "intervene"
_BLOCK: Final = 256
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intervention:
    """What is to be changed, as it is spelled on the command line.

    ``swap``: a table's file, or "pronouns"; ``drop``: selections of documents (``select_documents``);
    ``replace``: pairs of a selection and a document's number or a text file; ``move``: pairs of a selection
    and a step.
    """

    swap: str | None = None
    allow_length_change: bool = False
    drop: Sequence[str] = ()
    replace: Sequence[tuple[str, str]] = ()
    move: Sequence[tuple[str, int]] = ()

    @property
    def is_empty(self) -> bool:
        return self.swap is None and not (self.drop or self.replace or self.move)


@dataclass(frozen=True, slots=True)
class Change:
    """What `intervene` made. ``samples`` counts those that are packed anew, of ``range_samples`` in the
    range; ``repeated`` and ``cut`` the tokens that fill them or that no longer fit. ``swaps`` counts pairs
    of tokens that are swapped wherever they stand, ``words`` the pairs of whole words that are swapped in the
    text, which is re-tokenised."""

    output: Path
    parent: str
    from_step: int
    to_step: int
    range_samples: int
    samples: int
    repeated: int
    cut: int
    swaps: int
    words: int
    existed: bool = False


@dataclass(slots=True)
class _Made:
    samples: dict[int, list[Piece]] = field(default_factory=dict)
    documents: set[int] = field(default_factory=set)
    swaps: tuple[tuple[int, int], ...] = ()
    words: int = 0
    repeated: int = 0
    cut: int = 0


def intervene(
    data: str | os.PathLike[str],
    output: Path,
    intervention: Intervention,
    *,
    from_step: int,
    to_step: int | None = None,
    order: str | None = None,
    batch_size: int | None = None,
    tokenizer: str | None = None,
    progress: Progress = no_progress,
) -> Change:
    """Write the overlay of the stream at ``data`` that ``intervention`` makes in steps [from_step, to_step).

    ``to_step`` is the stream's end unless given. Samples outside of the range keep every byte. Raises
    ParameterError for an intervention that cannot be made (a word that is not one token, a cycle, documents
    of a stream that has no boundaries, …) and OutOfRangeError for steps or documents that are not there.
    """
    if intervention.is_empty:
        raise ParameterError("nothing to change; name a table with --swap, or documents with --drop, …")
    stream = open_stream(data, order, "mmap", None)
    stream.components[0].prove()
    if stream.blend is not None:
        raise ParameterError(
            f"{stream.place.name}: a blend; intervene in the stream of one of its datasets (--data DATASET "
            f"--order {stream.place.store.name}/orders/{stream.components[0].place.label}), and blend again"
        )
    batch = stream.batch_size if batch_size is None else batch_size
    if batch is None or batch < 1:
        raise ParameterError(f"{stream.place.name}: give a batch size of at least 1 with --batch-size")
    first, last = _range(stream, batch, from_step, to_step)
    parent = stream.identity()
    parameters = _parameters(intervention, first // batch, -(-last // batch), batch)
    component = stream.components[0]
    added = AddedDocuments(component, threading.Lock())
    made = _Made()
    if not (output / MANIFEST_NAME).exists():  # nothing is written where it cannot be made
        loaded = _tokenizer(component, tokenizer) if _needs_tokenizer(intervention) else None
        made = _Work(stream, component, loaded, added, first, last, batch, progress).make(intervention)
    with Workspace(output, stage=STAGE, parameters=parameters | {"parent": parent}, inputs=[]) as space:
        if space.finished is None:
            record = _write(space, stream, made, added, (first, last), batch, parent)
            counts = {
                "range_samples": last - first,
                "samples": len(made.samples),
                "repeated": made.repeated,
                "cut": made.cut,
                "swaps": len(made.swaps),
                "words": made.words,
                "added_documents": record.added_documents,
            }
            _finish(space, data, stream, parameters | {"parent": parent}, record, counts)
        else:
            counts = dict(space.finished.counts)
    counts = {key: value for key, value in counts.items() if key != "added_documents"}
    return Change(
        output, parent, first // batch, -(-last // batch), **counts, existed=space.finished is not None
    )


def _range(stream: Stream, batch: int, from_step: int, to_step: int | None) -> tuple[int, int]:
    """Return the samples [first, last) of the stream that may change."""
    begin = -(-stream.first_sample // batch)
    end = (stream.first_sample + stream.samples) // batch
    stop = end if to_step is None else to_step
    if not begin <= from_step < stop <= end:
        raise OutOfRangeError(
            f"steps {from_step}:{stop}: no range of {stream.place.name}, which has steps {begin}:{end} at "
            f"batch size {batch}"
        )
    return from_step * batch, stop * batch


def _parameters(intervention: Intervention, start: int, stop: int, batch: int) -> dict[str, Any]:
    """What the overlay depends on; files by their content."""

    def content(name: str, is_file: bool) -> str:
        return f"{Path(name).name} {sha256_file(name)}" if is_file and Path(name).is_file() else name

    def selected(selection: str) -> str:
        return content(selection, is_file_selection(selection))

    swap = intervention.swap
    return {
        "from_step": start,
        "to_step": stop,
        "batch_size": batch,
        "swap": None if swap is None else [list(pair) for pair in read_swap_table(swap)],
        "allow_length_change": intervention.allow_length_change,
        "drop": [selected(selection) for selection in intervention.drop],
        "replace": [
            [selected(selection), content(other, not other.isdecimal())]
            for selection, other in intervention.replace
        ],
        "move": [[selected(selection), step] for selection, step in intervention.move],
    }


def _needs_tokenizer(intervention: Intervention) -> bool:
    return intervention.swap is not None or any(not other.isdecimal() for _, other in intervention.replace)


def _tokenizer(component: Component, given: str | None) -> TokenizerFile:
    store = component.dataset.store
    if given is None:
        if store.path is None or not (store.path / TOKENIZER_NAME).is_file():
            raise ParameterError(
                f"{store.name}/{TOKENIZER_NAME}: no tokenizer beside the dataset; give one with --tokenizer"
            )
        given = str(store.path / TOKENIZER_NAME)
    found = read_tokenizer(given, allow_id_gaps=True)
    manifest = component.dataset.manifest
    if manifest is not None and manifest.parameters["tokenizer"]["sha256"] != found.sha256:
        raise DataError(
            f"{found.path}: SHA-256 {found.sha256[:12]}…, but the token dataset was made with another; "
            "give the tokenizer that made it"
        )
    if found.max_id > np.iinfo(component.dataset.dtype).max:
        raise DataError(f"{found.path}: ids up to {found.max_id} do not fit the dataset's dtype")
    return found


@dataclass(slots=True)
class _Work:
    """The samples [first, last) of ``stream``, and what makes them anew."""

    stream: Stream
    component: Component
    tokenizer: TokenizerFile | None
    added: AddedDocuments
    first: int
    last: int
    batch: int
    progress: Progress

    def make(self, intervention: Intervention) -> _Made:
        made = _Made()
        table = None
        if intervention.swap is not None:
            table = self._resolved(intervention)
            if not table.longer:
                made.swaps = table.swaps
        edits = self._edits(intervention)
        moves = [(set(self._select(selection)), step) for selection, step in intervention.move]
        made.documents = set(edits).union(*(documents for documents, _ in moves))
        if made.documents or (table is not None and table.longer):
            refuse_retokenised(self.component, self.first, self.last, self.batch)
        if table is not None and table.longer:
            words = read_swap_table(str(intervention.swap))
            made.words = len(words)
            if edits or moves:
                raise ParameterError(
                    "words that are not one token and documents cannot be changed at once; make two "
                    "overlays, that of the documents first"
                )
            self._retokenize(words, made)
        if edits:
            self._rebuild(edits, made)
        for documents, step in moves:
            self._move(documents, step, made)
        refuse_shown_again(
            self.component,
            made.samples,
            self.added.origin,
            first_sample=self.stream.first_sample,
            batch=self.batch,
        )
        return made

    def _loaded(self) -> tokenizers.Tokenizer:
        """A tokenizer that takes text for text: no special token is read out of it."""
        if self.tokenizer is None:
            raise ParameterError("a tokenizer is needed; give one with --tokenizer")
        loaded = tokenizers.Tokenizer.from_buffer(self.tokenizer.content)
        loaded.no_truncation()
        loaded.no_padding()
        loaded.encode_special_tokens = True
        return loaded

    def _resolved(self, intervention: Intervention) -> ResolvedTable:
        name = str(intervention.swap)
        table = resolve(read_swap_table(name), self._loaded(), name)
        if table.longer and not intervention.allow_length_change:
            words = ", ".join(f"{left!r} → {right!r}" for left, right in table.longer)
            raise ParameterError(
                f"{name}: not one token each in this tokenizer: {words}; leave them out of the table, or say "
                "--allow-length-change"
            )
        return table

    def _select(self, selection: str) -> list[int]:
        if not self.component.knows_documents:
            raise ParameterError(
                f"{self.stream.place.name}: boundaries of documents are not known, so none can be changed"
            )
        documents: list[int] = select_documents(self.component.dataset, selection).tolist()
        return documents

    def _edits(self, intervention: Intervention) -> dict[int, tuple[int, int] | None]:
        edits: dict[int, tuple[int, int] | None] = {}
        for selection in intervention.drop:
            edits |= dict.fromkeys(self._select(selection))
        for selection, other in intervention.replace:
            documents = self._select(selection)
            twice = edits.keys() & set(documents)
            if twice:
                raise ParameterError(f"document {min(twice)} is changed twice")
            if other.isdecimal():
                [number] = self._select(other)
                size = int(self.component.document_tokens(np.array([number]))[0])
                edits |= dict.fromkeys(documents, (number, size))
            else:
                edits |= {document: self._added_text(Path(other), document) for document in documents}
        return edits

    def _added_text(self, path: Path, document: int) -> tuple[int, int]:
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
        loaded = self._loaded()
        ids = loaded.encode(text, add_special_tokens=False).ids
        end = self.component.dataset.sequence(document)[-1:].tolist()
        special = loaded.get_added_tokens_decoder()
        # The replacement ends as the document did: with EOD where the dataset has one.
        ids += [token for token in end if token in special and special[token].special]
        if not ids:
            raise ParameterError(f"{path}: no token in it; to leave a document out, --drop it")
        problem = name_problem(path.name, nested=False)
        if problem is not None:
            raise ParameterError(f"{path}: a name {problem}, and a table holds it; rename the file")
        number = self.added.add(np.array(ids, self.component.dataset.dtype), path.name, None, None)
        return number, len(ids)

    def _positions(self, samples: Int64Array) -> Int64Array:
        return samples - self.stream.first_sample

    def _pieces(self, samples: Int64Array) -> list[list[Piece]]:
        """Return the pieces of ``samples``; of a stream without documents, its sequences for them."""
        positions = self._positions(samples)
        if not self.component.knows_documents:
            whole = self.component.seq_length + 1
            return [[(number, 0, whole)] for number in self.component.packed_numbers(positions).tolist()]
        return _lists(self.component.pieces(positions), len(samples))

    def _packed(self, number: int) -> list[Piece]:
        if not self.component.knows_documents:
            return [(number, 0, self.component.seq_length + 1)]
        return _lists(self.component.packed_pieces(np.array([number])), 1)[0]

    def _blocks(self, label: str) -> Iterator[Int64Array]:
        for start in range(self.first, self.last, _BLOCK):
            stop = min(self.last, start + _BLOCK)
            yield np.arange(start, stop)
            self.progress(label, stop - self.first, self.last - self.first)

    def _holding(self, documents: set[int]) -> dict[int, list[Piece]]:
        """Return the samples of the range that show one of ``documents``, with their pieces."""
        wanted = np.array(sorted(documents))
        found: dict[int, list[Piece]] = {}
        for samples in self._blocks("samples"):
            pieces = self.component.pieces(self._positions(samples))
            rows = np.unique(pieces.row[np.isin(pieces.document, wanted)])
            if len(rows):
                found |= dict(zip(samples[rows].tolist(), self._pieces(samples[rows]), strict=True))
        self._refuse_packed_anew(np.array(list(found), np.int64))
        return found

    def _refuse_packed_anew(self, samples: Int64Array) -> None:
        if isinstance(self.component, OverlayComponent) and len(samples):
            listed = self.component.is_listed(self._positions(samples))
            if listed.any():
                step, row = divmod(int(samples[listed][0]), self.batch)
                raise ParameterError(
                    f"step {step}, row {row}: packed anew by the overlay below; change all documents in one "
                    "overlay, and swap words that are not one token after that"
                )

    def _rebuild(self, edits: dict[int, tuple[int, int] | None], made: _Made) -> None:
        samples = np.array(list(self._holding(set(edits))), np.int64)
        if not len(samples):
            raise ParameterError("none of the documents is shown in these steps, so nothing would change")
        numbers = self.component.packed_numbers(self._positions(samples)).tolist()
        found = rebuild(
            numbers,
            self._packed,
            edits,
            n_tokens=self.component.seq_length + 1,
            n_samples=self.component.n_samples,
            shares=self.component.shares_tokens,
        )
        for sample, number in zip(samples.tolist(), numbers, strict=True):
            made.samples[sample] = found.samples[number]
        made.repeated, made.cut = found.repeated, found.cut

    def _move(self, documents: set[int], step: int, made: _Made) -> None:
        targets = list(range(step * self.batch, (step + 1) * self.batch))
        if targets[0] < self.first or targets[-1] >= self.last:
            raise OutOfRangeError(
                f"step {step}: documents are moved inside of the range, steps {self.first // self.batch}:"
                f"{self.last // self.batch}"
            )
        samples = self._holding(documents)
        if not samples:
            raise ParameterError("none of the moved documents is shown in these steps")
        self._refuse_packed_anew(np.array(targets))
        samples |= dict(zip(targets, self._pieces(np.array(targets)), strict=True))
        # What another change of this overlay has made of a sample is what counts, and may show them, too.
        samples |= {
            sample: pieces
            for sample, pieces in made.samples.items()
            if sample in samples or any(piece[0] in documents for piece in pieces)
        }
        ordered = dict(sorted(samples.items()))
        made.samples |= exchange(ordered, targets, documents, self.component.seq_length + 1)

    def _retokenize(self, words: Sequence[tuple[str, str]], made: _Made) -> None:
        change = Retokenizer(words, self._loaded(), self.component.dataset.dtype)
        whole = self.component.seq_length + 1
        for samples in self._blocks("text"):
            tokens = self.component.tokens(self._positions(samples))
            for row, pieces in enumerate(self._pieces(samples)):
                found: list[Piece] = []
                position = 0
                for document, offset, n_tokens in pieces:
                    piece = tokens[row, position : position + n_tokens]
                    new = change(piece, self._context(document, offset, n_tokens, int(samples[row])))
                    position += n_tokens
                    if new is None:
                        found.append((document, offset, n_tokens))
                    elif len(new):
                        found.append((self.added.add_part(new, document), 0, len(new)))
                if found == pieces:
                    continue
                self._refuse_packed_anew(samples[row : row + 1])
                sample = int(samples[row])
                before = sum(n_tokens for _, _, n_tokens in found)
                made.samples[sample] = fill(found, self._after(sample, change), whole)
                made.repeated += max(0, whole - before)
                made.cut += max(0, before - whole)
        if not made.samples:
            raise ParameterError("none of the words is in these steps, so nothing would change")

    def _context(
        self, document: int, offset: int, n_tokens: int, sample: int
    ) -> Callable[[], tuple[list[int], list[int]]]:
        """Return what gives the tokens of ``document`` beside a piece of it, as in ``sample``."""

        def read() -> tuple[list[int], list[int]]:
            size = int(self.component.document_tokens(np.array([document]))[0])
            ranges = (
                (max(0, offset - CONTEXT_TOKENS), offset),
                (offset + n_tokens, min(size, offset + n_tokens + CONTEXT_TOKENS)),
            )
            before, after = (
                self.component.document_pieces(
                    np.array([document]),
                    np.array([start]),
                    np.array([max(0, stop - start)]),
                    self._positions(np.array([sample])),
                ).tolist()
                for start, stop in ranges
            )
            return before, after

        return read

    def _after(self, sample: int, change: Retokenizer) -> Iterator[Piece]:
        """Yield the changed pieces that follow a sample in the packing, round the end of it."""
        position = self._positions(np.array([sample]))
        number = int(self.component.packed_numbers(position)[0])
        for after in [*range(number + 1, self.component.n_samples), *range(number + 1)]:
            skip = 1 if self.component.shares_tokens and after else 0
            for document, offset, n_tokens in cut(self._packed(after), skip, self.component.seq_length + 1):
                one, start, count = (np.array([value]) for value in (document, offset, n_tokens))
                piece = self.component.document_pieces(one, start, count, position)
                new = change(piece, self._context(document, offset, n_tokens, sample))
                if new is None:
                    yield document, offset, n_tokens
                elif len(new):
                    yield self.added.add_part(new, document), 0, len(new)


def _lists(pieces: Any, rows: int) -> list[list[Piece]]:
    found: list[list[Piece]] = [[] for _ in range(rows)]
    columns = (pieces.row, pieces.document, pieces.offset, pieces.n_tokens)
    for row, document, offset, n_tokens in zip(*(column.tolist() for column in columns), strict=True):
        if document == UNKNOWN:
            raise ParameterError("boundaries of documents are not known here")
        found[row].append((document, offset, n_tokens))
    return found


def _write(
    space: Workspace,
    stream: Stream,
    made: _Made,
    added: AddedDocuments,
    samples: tuple[int, int],
    batch: int,
    parent: str,
) -> OverlayRecord:
    """Write everything but the manifest."""
    directory = space.directory
    files = []
    if made.samples:
        ordered = sorted(made.samples.items())
        counts = [len(pieces) for _, pieces in ordered]
        starts = np.cumsum([0, *counts[:-1]])
        listed = np.stack([np.array([sample for sample, _ in ordered]), starts], axis=1).astype(np.int64)
        pieces = np.array([piece for _, pieces in ordered for piece in pieces], np.int64)
        files = [
            write_array(directory / SAMPLES_NAME, listed),
            write_array(directory / PIECES_NAME, pieces),
        ]
        if made.documents:
            documents = np.array(sorted(made.documents), np.int64)
            files.append(write_array(directory / DOCUMENTS_NAME, documents))
    files += added.write(directory)
    record = OverlayRecord(
        parent=parent,
        first_sample=samples[0],
        last_sample=samples[1],
        batch_size=batch,
        swaps=made.swaps,
        added_documents=len(added),
        files=tuple(files),
    )
    with atomic_write(directory / OVERLAY_NAME) as file:
        file.write(record.to_bytes())
    return record


def _finish(
    space: Workspace,
    data: str | os.PathLike[str],
    stream: Stream,
    parameters: dict[str, Any],
    record: OverlayRecord,
    counts: dict[str, int],
) -> None:
    location = _seen_from(space.directory, os.fspath(data))
    ParentPlace(location, _order_name(stream, space.directory)).write(space.directory)
    manifest = stream.components[0].dataset.manifest
    space.finish(
        Manifest(
            stage=STAGE,
            parameters=parameters,
            inputs=[],
            outputs=[*record.files, file_entry(space.directory / OVERLAY_NAME)],
            counts=counts,
            parents=[record.parent, *([manifest.identity] if manifest is not None else [])],
            versions={"tokenizers": tokenizers.__version__} if counts["words"] or counts["swaps"] else {},
        )
    )


def _seen_from(directory: Path, location: str) -> str:
    """Return ``location``, a URL or a path, as a path relative to ``directory`` where it is one."""
    return without_credentials(location) if is_url(location) else os.path.relpath(location, directory)


def _order_name(stream: Stream, directory: Path) -> str:
    """Return the label of the order of ``stream``, with the way to it where it is not beside its dataset."""
    place, dataset = stream.place, stream.components[0].dataset
    try:
        beside = find_order(dataset.store, dataset.prefix, place.label)
    except PileToolsError:
        beside = None
    if beside is not None and beside.store.name == place.store.name:
        return place.label
    return _seen_from(directory, f"{place.store.name}/{place.label}")
