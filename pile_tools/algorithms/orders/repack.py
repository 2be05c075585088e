"""Samples packed anew: without documents, with others in their place, or with documents elsewhere.

A sample is a list of pieces (document, offset, n_tokens), of seq_length + 1 tokens in all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from pile_tools.errors import ParameterError

__all__ = ["Piece", "Replaced", "cut", "exchange", "fill", "rebuild"]

Piece = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Replaced:
    """Samples packed anew, by number. ``repeated`` counts the tokens that they now show besides their own
    samples, ``cut`` those that no longer fit."""

    samples: dict[int, list[Piece]]
    repeated: int
    cut: int


def length(pieces: Sequence[Piece]) -> int:
    return sum(n_tokens for _, _, n_tokens in pieces)


def cut(pieces: Sequence[Piece], start: int, stop: int) -> list[Piece]:
    """Return the tokens [start, stop) of ``pieces``, as pieces."""
    found = []
    position = 0
    for document, offset, n_tokens in pieces:
        first, last = max(start, position), min(stop, position + n_tokens)
        if first < last:
            found.append((document, offset + first - position, last - first))
        position += n_tokens
    return found


def rebuild(
    numbers: Sequence[int],
    read: Callable[[int], list[Piece]],
    edits: Mapping[int, tuple[int, int] | None],
    *,
    n_tokens: int,
    n_samples: int,
    shares: bool,
) -> Replaced:
    """Pack the samples ``numbers`` (of the packing: neighbours follow each other in the text) anew.

    ``read(number)`` gives a sample's pieces; ``edits`` the documents that are dropped (None) or replaced (by
    document and its size). Where neighbours are both packed anew, the second goes on where the first now
    ends; elsewhere a sample begins where it did. What is missing at the end of a run of neighbours comes
    from the samples after it, which keep their own text, after the last sample from the first; what is too
    much is cut. ``shares``: a sample begins with the last token of the one before.
    """
    samples: dict[int, list[Piece]] = {}
    repeated = cut_off = 0
    for run in _runs(sorted(numbers)):
        wanted = n_tokens * len(run) - (len(run) - 1 if shares else 0)
        text: list[Piece] = []
        last: Piece | None = None
        for number in run:
            pieces = read(number)
            text += _edited(cut(pieces, 1, n_tokens) if shares and number != run[0] else pieces, edits, last)
            last = pieces[-1]
        own = length(text)
        follow = _following(run[-1], n_samples)
        while length(text) < wanted:
            after = next(follow, None)
            if after is None:
                raise ParameterError("no document is left to fill the samples with; drop fewer")
            pieces = read(after)
            text += _edited(cut(pieces, 1, n_tokens) if shares and after else pieces, edits, last)
            last = pieces[-1]
        repeated += max(0, wanted - own)
        cut_off += max(0, own - wanted)
        for place, number in enumerate(run):
            start = place * (n_tokens - 1 if shares else n_tokens)
            samples[number] = cut(text, start, start + n_tokens)
    return Replaced(samples, repeated, cut_off)


def _runs(numbers: Sequence[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _following(number: int, n_samples: int) -> Iterator[int]:
    """The samples after ``number``, from the first again after the last, each once."""
    yield from range(number + 1, n_samples)
    yield from range(number + 1)


def _edited(
    pieces: Sequence[Piece], edits: Mapping[int, tuple[int, int] | None], before: Piece | None
) -> Iterator[Piece]:
    """Yield ``pieces`` after the edits; ``before`` is the piece that precedes them in the text."""
    for piece in pieces:
        document, offset, _ = piece
        if document not in edits:
            yield piece
        else:
            replacement = edits[document]
            # The rest of a document whose beginning was met has been replaced with it.
            goes_on = before is not None and before[0] == document and offset > 0
            if replacement is not None and not goes_on:
                other, size = replacement
                if offset < size:
                    yield other, offset, size - offset
        before = piece


def exchange(
    samples: Mapping[int, list[Piece]], targets: Sequence[int], moved: Set[int], n_tokens: int
) -> dict[int, list[Piece]]:
    """Move every piece of the documents ``moved`` into the samples ``targets``, from the first on.

    What was at a piece's new place comes to its old one, so that each token is shown as often as before. A
    piece stays whole; pieces that are in ``targets`` already stay. ``samples`` holds the pieces of all that
    is concerned, in stream order; returned are those that change. Raises ParameterError where the pieces do
    not fit.
    """
    changed: dict[int, list[Piece]] = {}
    taken = {target: _places(samples[target], moved) for target in targets}
    inside = set(targets)
    for number, pieces in samples.items():
        if number in inside:
            continue
        for start, stop in _places(pieces, moved):
            target, place = _free_place(targets, taken, stop - start, n_tokens)
            taken[target].append((place, place + stop - start))
            one = changed.get(number, list(pieces))
            two = changed.get(target, list(samples[target]))
            mine, theirs = cut(one, start, stop), cut(two, place, place + stop - start)
            changed[number] = [*cut(one, 0, start), *theirs, *cut(one, stop, n_tokens)]
            changed[target] = [*cut(two, 0, place), *mine, *cut(two, place + stop - start, n_tokens)]
    return changed


def _places(pieces: Sequence[Piece], documents: Set[int]) -> list[tuple[int, int]]:
    """The positions [start, stop) of the pieces that are of ``documents``."""
    found = []
    position = 0
    for document, _, n_tokens in pieces:
        if document in documents:
            found.append((position, position + n_tokens))
        position += n_tokens
    return found


def _free_place(
    targets: Sequence[int], taken: Mapping[int, list[tuple[int, int]]], wanted: int, n_tokens: int
) -> tuple[int, int]:
    for target in targets:
        place = 0
        for start, stop in sorted(taken[target]):
            if place + wanted <= start:
                break
            place = max(place, stop)
        if place + wanted <= n_tokens:
            return target, place
    raise ParameterError(
        f"the documents do not fit into the {len(targets)} sequences of one step; move fewer, or to several "
        "steps"
    )


def fill(pieces: Sequence[Piece], following: Iterator[Piece], n_tokens: int) -> list[Piece]:
    """Return ``pieces`` cut to ``n_tokens``, or filled up with what ``following`` gives."""
    found = list(pieces)
    while length(found) < n_tokens:
        found.append(next(following))
    return cut(found, 0, n_tokens)
