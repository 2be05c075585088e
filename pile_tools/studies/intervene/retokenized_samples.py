"""Samples whose text is re-tokenised, with swapped words of any length in it."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tokenizers

from pile_tools.algorithms.orders.repack import Piece, Replaced, cut, fill
from pile_tools.errors import ParameterError
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.retokenize import CONTEXT_TOKENS, Retokenizer
from pile_tools.studies.intervene.sample_range import SampleRange

__all__ = ["retokenize_samples"]


def retokenize_samples(
    samples: SampleRange,
    words: Sequence[tuple[str, str]],
    added: AddedDocuments,
    tokenizer: tokenizers.Tokenizer,
) -> Replaced:
    """Swap the pairs ``words`` in the text of the range; what becomes of a piece goes into ``added``.

    A sample that is now too short is filled with the text that follows it in the packing, words swapped;
    of one that is too long the end is cut. Raises ParameterError where none of the words is in the range.
    """
    change = Retokenizer(words, tokenizer, samples.component.dataset.dtype)
    whole = samples.component.seq_length + 1
    changed: dict[int, list[Piece]] = {}
    repeated = cut_off = 0
    for block in samples.blocks("text"):
        tokens = samples.component.tokens(samples.positions(block))
        for row, pieces in enumerate(samples.pieces(block)):
            sample = int(block[row])
            swapped: list[Piece] = []
            position = 0
            for document, offset, n_tokens in pieces:
                piece = tokens[row, position : position + n_tokens]
                new = change(piece, _context(samples, document, offset, n_tokens, sample))
                position += n_tokens
                if new is None:
                    swapped.append((document, offset, n_tokens))
                elif len(new):
                    swapped.append((added.add_part(new, document), 0, len(new)))
            if swapped == pieces:
                continue
            samples.refuse_repacked(block[row : row + 1])
            length = sum(n_tokens for _, _, n_tokens in swapped)
            changed[sample] = fill(swapped, _following(samples, sample, change, added), whole)
            repeated += max(0, whole - length)
            cut_off += max(0, length - whole)
    if not changed:
        raise ParameterError("none of the words is in these steps, so nothing would change")
    return Replaced(changed, repeated, cut_off)


def _context(
    samples: SampleRange, document: int, offset: int, n_tokens: int, sample: int
) -> Callable[[], tuple[list[int], list[int]]]:
    """Return what gives the tokens of ``document`` beside a piece of it, as in ``sample``."""

    def read() -> tuple[list[int], list[int]]:
        size = int(samples.component.document_tokens(np.array([document]))[0])
        ranges = (
            (max(0, offset - CONTEXT_TOKENS), offset),
            (offset + n_tokens, min(size, offset + n_tokens + CONTEXT_TOKENS)),
        )
        before, after = (
            samples.component.document_pieces(
                np.array([document]),
                np.array([start]),
                np.array([max(0, stop - start)]),
                samples.positions(np.array([sample])),
            ).tolist()
            for start, stop in ranges
        )
        return before, after

    return read


def _following(
    samples: SampleRange, sample: int, change: Retokenizer, added: AddedDocuments
) -> Iterator[Piece]:
    """Yield the changed pieces that follow a sample in the packing, round the end of it."""
    component = samples.component
    position = samples.positions(np.array([sample]))
    index = int(component.packed_numbers(position)[0])
    for after in [*range(index + 1, component.n_samples), *range(index + 1)]:
        skip = 1 if component.shares_tokens and after else 0
        for document, offset, n_tokens in cut(samples.packed(after), skip, component.seq_length + 1):
            at, start, count = (np.array([value]) for value in (document, offset, n_tokens))
            piece = component.document_pieces(at, start, count, position)
            new = change(piece, _context(samples, document, offset, n_tokens, sample))
            if new is None:
                yield document, offset, n_tokens
            elif len(new):
                yield added.add_part(new, document), 0, len(new)
