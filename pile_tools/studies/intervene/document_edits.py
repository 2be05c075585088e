"""Documents dropped, replaced or moved in a range of samples, which are repacked for it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tokenizers

from pile_tools.algorithms.orders.repack import Piece, Replaced, exchange, rebuild
from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.storage.names import name_problem
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.intervention import Intervention
from pile_tools.studies.intervene.sample_range import SampleRange
from pile_tools.studies.intervene.selection import select_documents

__all__ = ["Edits", "document_edits", "move_documents", "repack_samples", "stream_documents"]

Edits = dict[int, tuple[int, int] | None]
"""Documents, and what replaces each: a document and its size in tokens, or None for one that is dropped."""


def stream_documents(samples: SampleRange, selection: str) -> list[int]:
    """Return the documents that ``selection`` names; ParameterError where the stream does not know them."""
    if not samples.component.knows_documents:
        raise ParameterError(
            f"{samples.stream.place.name}: boundaries of documents are not known, so none can be changed"
        )
    documents: list[int] = select_documents(samples.component.dataset, selection).tolist()
    return documents


def document_edits(
    samples: SampleRange,
    intervention: Intervention,
    added: AddedDocuments,
    tokenizer: Callable[[], tokenizers.Tokenizer],
) -> Edits:
    """Return the edits of ``intervention``; texts that replace documents are tokenised into ``added``."""
    edits: Edits = {}
    for selection in intervention.drop:
        edits |= dict.fromkeys(stream_documents(samples, selection))
    for selection, other in intervention.replace:
        documents = stream_documents(samples, selection)
        twice = edits.keys() & set(documents)
        if twice:
            raise ParameterError(f"document {min(twice)} is changed twice")
        if other.isdecimal():
            [replacement] = stream_documents(samples, other)
            size = int(samples.component.document_tokens(np.array([replacement]))[0])
            edits |= dict.fromkeys(documents, (replacement, size))
        else:
            for document in documents:
                edits[document] = _add_text(samples, Path(other), document, added, tokenizer())
    return edits


def _add_text(
    samples: SampleRange, path: Path, document: int, added: AddedDocuments, tokenizer: tokenizers.Tokenizer
) -> tuple[int, int]:
    """Add the text at ``path`` in place of ``document``; return the added document and its size."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from None
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    end = samples.component.dataset.sequence(document)[-1:].tolist()
    special = tokenizer.get_added_tokens_decoder()
    # The replacement ends as the document did: with EOD where the dataset has one.
    ids += [token for token in end if token in special and special[token].special]
    if not ids:
        raise ParameterError(f"{path}: no token in it; to leave a document out, --drop it")
    problem = name_problem(path.name, nested=False)
    if problem is not None:
        raise ParameterError(f"{path}: a name {problem}, and a table holds it; rename the file")
    return added.add(np.array(ids, samples.component.dataset.dtype), path.name, None, None), len(ids)


def repack_samples(samples: SampleRange, edits: Edits) -> Replaced:
    """Repack the samples of the range that show a document of ``edits``."""
    shown = np.array(list(samples.holding(set(edits))), np.int64)
    if not len(shown):
        raise ParameterError("none of the documents is shown in these steps, so nothing would change")
    packed_indices = samples.component.packed_numbers(samples.positions(shown)).tolist()
    repacked = rebuild(
        packed_indices,
        samples.packed,
        edits,
        n_tokens=samples.component.seq_length + 1,
        n_samples=samples.component.n_samples,
        shares=samples.component.shares_tokens,
    )
    by_sample = {
        sample: repacked.samples[index] for sample, index in zip(shown.tolist(), packed_indices, strict=True)
    }
    return Replaced(by_sample, repacked.repeated, repacked.cut)


def move_documents(
    samples: SampleRange, documents: set[int], step: int, changed: Mapping[int, list[Piece]]
) -> dict[int, list[Piece]]:
    """Return the samples that moving ``documents`` to ``step`` changes, after the changes ``changed``."""
    targets = list(range(step * samples.batch, (step + 1) * samples.batch))
    if targets[0] < samples.first or targets[-1] >= samples.last:
        raise OutOfRangeError(
            f"step {step}: documents are moved inside of the range, steps {samples.first // samples.batch}:"
            f"{samples.last // samples.batch}"
        )
    holding = samples.holding(documents)
    if not holding:
        raise ParameterError("none of the moved documents is shown in these steps")
    samples.refuse_repacked(np.array(targets))
    holding |= dict(zip(targets, samples.pieces(np.array(targets)), strict=True))
    # What another change of this overlay has made of a sample is what counts, and may show them, too.
    holding |= {
        sample: pieces
        for sample, pieces in changed.items()
        if sample in holding or any(piece[0] in documents for piece in pieces)
    }
    return exchange(dict(sorted(holding.items())), targets, documents, samples.component.seq_length + 1)
