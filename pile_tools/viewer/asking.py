"""The questions that ``BatchViewer`` answers about the whole stream."""

import os
import threading
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pile_tools.errors import ParameterError
from pile_tools.formats.order_files import OrderPlace
from pile_tools.formats.order_record import BlendRecord, OrderRecord
from pile_tools.formats.store import Store
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.lookups.stream import Progress, no_progress
from pile_tools.viewer.opening import Stream
from pile_tools.viewer.overlay import OverlayComponent, changed_samples
from pile_tools.viewer.parts import FetchedPart, ViewedPart
from pile_tools.viewer.reading import Decoder
from pile_tools.viewer.torch_data import StreamDataset

if TYPE_CHECKING:
    import pyarrow as pa

    from pile_tools.lookups.digests import DigestSummary
    from pile_tools.lookups.find import Counts

__all__ = ["Asking"]

Int64Array = npt.NDArray[np.int64]


class Asking:
    """Lookups over the stream of a ``BatchViewer``, which inherits them."""

    order: OrderPlace
    batch_size: int
    seq_length: int
    _stream: Stream
    _decoders: list[Decoder]
    _lock: threading.Lock
    _parts: tuple[ViewedPart, ...] | None = None

    @property
    @abstractmethod
    def first_step(self) -> int: ...

    @property
    @abstractmethod
    def steps(self) -> int: ...

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]: ...

    @property
    @abstractmethod
    def identity(self) -> str: ...

    @abstractmethod
    def prove(self) -> None: ...

    @abstractmethod
    def batch(self, step: int) -> npt.NDArray[Any]: ...

    @abstractmethod
    def rank_rows(self, *, rank: int, world_size: int, micro_batch_size: int | None = None) -> Int64Array: ...

    @abstractmethod
    def take_rows(self, step: int, rows: Int64Array) -> npt.NDArray[Any]: ...

    @property
    def name(self) -> str:
        """The path by which messages name the stream: its order's, with an overlay's own directory."""
        return f"{self.home.name}/{self._stream.place.label}"

    @property
    def datasets(self) -> tuple[TokenDataset, ...]:
        """The token datasets that the stream reads: one, or those of a blend."""
        return tuple(component.dataset for component in self._stream.components)

    @property
    def home(self) -> Store:
        """The files that are the stream's own: those of its order, or of the overlay."""
        component = self._stream.components[0]
        if self._stream.blend is None and isinstance(component, OverlayComponent):
            return component.store
        return self._stream.place.store

    @property
    def record(self) -> OrderRecord | BlendRecord | None:
        """The record of the order, None of maps without one and of an overlay, which has another stream."""
        is_overlay = self._stream.blend is None and isinstance(self._stream.components[0], OverlayComponent)
        return None if is_overlay else self._stream.place.record

    @property
    def parts(self) -> tuple[ViewedPart, ...]:
        """The datasets of the stream, as the lookups see them; of fetched steps those of the whole stream."""
        if self._parts is None:
            bounds = (self.first_step * self.batch_size, self.steps * self.batch_size)
            origins = self._stream.origins
            if origins is None:
                self._parts = tuple(
                    ViewedPart(self._stream, place, decoder, self._lock, bounds)
                    for place, decoder in enumerate(self._decoders)
                )
            else:
                self._parts = tuple(
                    FetchedPart(self._stream, origins, place, self._decoders[0], self._lock, bounds)
                    for place in range(len(origins.record.datasets))
                )
        return self._parts

    @property
    def is_counterfactual(self) -> bool:
        """Whether an overlay changes some of the stream."""
        return any(isinstance(component, OverlayComponent) for component in self._stream.components)

    def changed_sequences(self, start: int, stop: int, *, progress: Progress = no_progress) -> int:
        """Count the sequences of steps [start, stop) that have other tokens than without an overlay."""
        count = 0
        for step in range(start, stop):
            positions = step * self.batch_size + np.arange(self.batch_size)
            if self._stream.blend is None:
                which, numbers = np.zeros_like(positions), positions - self._stream.first_sample
            else:
                which, numbers = self._stream.blend.parts(positions)
            for index, component in enumerate(self._stream.components):
                count += int(changed_samples(component, numbers[which == index]).sum())
            progress("changes", step + 1 - start, stop - start)
        return count

    def samples_at(self, positions: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Return the parts that positions of the stream are of, and the samples there, int64[n] each.

        Position step · batch_size + row is that row of that step.
        """
        if self._stream.blend is not None:
            return self._stream.blend.parts(positions)
        samples = positions - self._stream.first_sample
        origins = self._stream.origins
        return np.zeros_like(samples) if origins is None else origins.which(samples), samples

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
        wanted = document if documents is None else documents
        if wanted is None:
            if shard is None or row is None:
                raise ParameterError("a shard and a row name a document together; give both")
            wanted = document_at(the_part(self, dataset), shard, row)
        return occurrences(
            self, wanted, dataset=dataset, world_size=world_size, micro_batch_size=micro_batch_size
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
        workers: int | None = None,
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
            workers=workers,
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
        workers: int | None = None,
        progress: Progress = no_progress,
    ) -> "Counts":
        """Count what ``find`` finds, up to each multiple of ``every`` steps and up to the last.

        ``table`` of the result has the columns checkpoint, pattern and count: occurrences in the steps
        before the checkpoint, from the first of ``steps`` on; ``first_step`` says where each pattern is
        first.
        """
        from pile_tools.lookups.find import count_occurrences, make_query

        query = make_query(text, tokens, regex)
        return count_occurrences(self, query, steps=steps, every=every, workers=workers, progress=progress)

    def repeats(self, *, every: int | None = None, progress: Progress = no_progress) -> "pa.Table":
        """Return how many documents, samples and tokens had been seen how often by each checkpoint.

        Checkpoints are the multiples of ``every`` steps and the last step. Columns: checkpoint (int64), kind
        ("documents", "samples", "tokens"; no documents where their boundaries are not known), times (int64)
        and count (int64): how many had been seen exactly so many times. A token is seen when it is among the
        inputs of a sequence, its first seq_length tokens; a document once for each of its places in doc_idx
        of which a token has been seen. All of the dataset is counted, what the order leaves out as seen 0
        times. Of a blend that lists a dataset twice all of its parts count together; samples do where both
        pack it alike.
        """
        from pile_tools.lookups.repeats import repeats

        return repeats(self, every=every, progress=progress)

    def mixture(self, *, every: int | None = None, progress: Progress = no_progress) -> "pa.Table":
        """Return how many tokens of each source the model saw between checkpoints.

        Columns: start and checkpoint (int64; steps from start up to checkpoint, not included), source
        (string, null where documents name none), tokens (int64, inputs), share of the interval (float64),
        cumulative (int64, since the first step). The largest source first. Raises PileToolsError where the
        sources are not known.
        """
        from pile_tools.lookups.mixture import mixture

        return mixture(self, every=every, progress=progress)

    def term_counts(
        self,
        terms: Sequence[str],
        *,
        every: int | None = None,
        window: int = 0,
        steps: tuple[int | None, int | None] | None = None,
        progress: Progress = no_progress,
    ) -> "pa.Table":
        """Count how often the model had read each term, and each pair of terms close together, by checkpoint.

        A term is a word or several in a row, with white space between them. A word is a longest run of
        ``\\w`` characters (letters, digits, "_") and the combining marks (Unicode's categories M*) that
        follow one, so that "1" is not found in "2013"; a Han, Hiragana or Katakana character, with its marks,
        is one alone. Case does not count: letters are lowered one by one, ς to σ, so that "οδος" is "ΟΔΟΣ",
        but "straße" and "STRASSE" are two words, and İ is i; no other forms of Unicode are made alike. Words
        are those of a sequence's text, cut at special tokens such as EOD. With ``window`` of 2 or more, two
        occurrences that do not overlap and lie within so many consecutive words count as a pair.

        Columns: checkpoint (int64), term, other (string; null: the term alone) and count (int64), cumulative
        from the first of ``steps`` on. Of each pair that is met at all, in the order of ``terms``, there is a
        row for every checkpoint; of any other there is none. Raises ParameterError for a term with anything
        but words and white space in it ("don't", "C++"): ``count`` counts texts.
        """
        from pile_tools.lookups.terms import term_counts

        return term_counts(self, terms, every=every, window=window, steps=steps, progress=progress)

    def make_digests(
        self, output: str | os.PathLike[str] | None = None, *, progress: Progress = no_progress
    ) -> "DigestSummary":
        """Digest every step (see ``digest``) and store the digests with the order, or in ``output``.

        ``digests.npy``, uint8 [steps, 16], and their root, the SHA-256 of all of them. The same stream has
        the same digests however it is stored. A run that was interrupted goes on where it ended.
        """
        from pile_tools.lookups.digests import make_digests

        return make_digests(self, output=None if output is None else Path(output), progress=progress)

    def verify_digests(
        self,
        steps: tuple[int | None, int | None] | None = None,
        *,
        directory: str | os.PathLike[str] | None = None,
        progress: Progress = no_progress,
    ) -> str:
        """Compare steps with the digests stored with the order, or in ``directory``.

        Those in ``directory`` may be of the same stream in another storage, and of more steps than it has.
        Returns what was found right, in a line. Raises DataError for the first step that differs.
        """
        from pile_tools.lookups.digests import verify_digests

        place = None if directory is None else Path(directory)
        return verify_digests(self, steps, directory=place, progress=progress)

    def torch_dataset(
        self,
        *,
        rank: int = 0,
        world_size: int = 1,
        micro_batch_size: int | None = None,
        start_step: int | None = None,
        stop_step: int | None = None,
    ) -> "StreamDataset":
        """Return the micro-batches of a data-parallel rank as a map-style dataset for a ``DataLoader``.

            loader = DataLoader(viewer.torch_dataset(micro_batch_size=8), batch_size=None, num_workers=2)

        yields int64 tensors [micro_batch_size, seq_length + 1] in the order of the stream; ``start_step``
        resumes. Without ``micro_batch_size`` a rank's part of a step is one. The dataset needs no PyTorch;
        for one of PyTorch's ``IterableDataset`` kind wrap it in ``pile_tools.train.IterableStream``.
        """
        self.prove()  # once, before there are workers
        return StreamDataset(
            self,
            rank=rank,
            world_size=world_size,
            micro_batch_size=micro_batch_size,
            start_step=start_step,
            stop_step=stop_step,
        )
