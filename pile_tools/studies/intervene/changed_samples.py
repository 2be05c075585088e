"""The samples that an intervention changes, and the pieces that fill them instead."""

from collections.abc import Callable
from dataclasses import dataclass, field

import tokenizers

from pile_tools.algorithms.orders.repack import Piece, Replaced
from pile_tools.errors import ParameterError
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.document_edits import (
    document_edits,
    move_documents,
    repack_samples,
    stream_documents,
)
from pile_tools.studies.intervene.intervention import Intervention
from pile_tools.studies.intervene.retokenized_samples import retokenize_samples
from pile_tools.studies.intervene.sample_range import SampleRange
from pile_tools.studies.intervene.stacking import refuse_retokenised, refuse_shown_again
from pile_tools.studies.intervene.swap_table import ResolvedTable, read_swap_table, resolve

__all__ = ["ChangedSamples", "change_samples"]


@dataclass(slots=True)
class ChangedSamples:
    """Samples with their new pieces, the documents that are changed on purpose, and the swaps of tokens.

    ``words`` counts the pairs of whole words that are swapped in the text; ``repeated`` and ``cut`` the
    tokens that fill the samples or no longer fit.
    """

    samples: dict[int, list[Piece]] = field(default_factory=dict)
    documents: set[int] = field(default_factory=set)
    swaps: tuple[tuple[int, int], ...] = ()
    words: int = 0
    repeated: int = 0
    cut: int = 0

    def add(self, replaced: Replaced) -> None:
        self.samples |= replaced.samples
        self.repeated += replaced.repeated
        self.cut += replaced.cut


def change_samples(
    samples: SampleRange,
    intervention: Intervention,
    added: AddedDocuments,
    tokenizer: Callable[[], tokenizers.Tokenizer],
) -> ChangedSamples:
    """Return what ``intervention`` makes of ``samples``; new documents go into ``added``.

    ``tokenizer()`` is called only where text is tokenised. Raises ParameterError for an intervention that
    cannot be made.
    """
    changed = ChangedSamples()
    longer = False
    if intervention.swap is not None:
        table = _resolved_table(intervention.swap, intervention.allow_length_change, tokenizer())
        longer = bool(table.longer)
        if not longer:
            changed.swaps = table.swaps
    edits = document_edits(samples, intervention, added, tokenizer)
    moves = [(set(stream_documents(samples, selection)), step) for selection, step in intervention.move]
    changed.documents = set(edits).union(*(documents for documents, _ in moves))
    if changed.documents or longer:
        refuse_retokenised(samples.component, samples.first, samples.last, samples.batch)
    if longer:
        words = read_swap_table(str(intervention.swap))
        changed.words = len(words)
        if edits or moves:
            raise ParameterError(
                "words that are not one token and documents cannot be changed at once; make two "
                "overlays, that of the documents first"
            )
        changed.add(retokenize_samples(samples, words, added, tokenizer()))
    if edits:
        changed.add(repack_samples(samples, edits))
    for documents, step in moves:
        changed.samples |= move_documents(samples, documents, step, changed.samples)
    refuse_shown_again(
        samples.component,
        changed.samples,
        added.origin,
        first_sample=samples.stream.first_sample,
        batch=samples.batch,
    )
    return changed


def _resolved_table(name: str, allow_length_change: bool, tokenizer: tokenizers.Tokenizer) -> ResolvedTable:
    """Return the table ``name`` in ids; ParameterError for words of more tokens unless they are allowed."""
    table = resolve(read_swap_table(name), tokenizer, name)
    if table.longer and not allow_length_change:
        words = ", ".join(f"{left!r} → {right!r}" for left, right in table.longer)
        raise ParameterError(
            f"{name}: not one token each in this tokenizer: {words}; leave them out of the table, or say "
            "--allow-length-change"
        )
    return table
