"""What an intervention makes of the samples of a range."""

import functools
import threading
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from pile_tools.errors import (
    ParameterError,
    PileToolsError,
)
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stream.opening import open_location
from pile_tools.studies.intervene.added_documents import AddedDocuments
from pile_tools.studies.intervene.changed_samples import ChangedSamples, change_samples
from pile_tools.studies.intervene.dataset_tokenizer import dataset_tokenizer
from pile_tools.studies.intervene.intervene import Intervention
from pile_tools.studies.intervene.sample_range import sample_range


def changes(data: Path, intervention: Intervention, tokenizer: str | None = None) -> ChangedSamples:
    samples = sample_range(open_location(data, None, "mmap", None), 4, 2, None)
    added = AddedDocuments(samples.component, threading.Lock())
    load = functools.partial(dataset_tokenizer, samples.component.dataset, tokenizer)
    return change_samples(samples, intervention, added, load)


def shortest_document(data: Path, other_than: set[int]) -> int:
    dataset = TokenDataset.open(data)
    documents = set(range(dataset.n_sequences)) - other_than
    return min(documents, key=lambda document: len(dataset.sequence(document)))


def test_a_tokenizer_is_read_only_where_text_is_tokenised(data: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("bread")
    other = str(tmp_path / "none.json")
    moved = shortest_document(data, {5, 9})
    edits = Intervention(drop=["5"], replace=[("9", "17")], move=[(str(moved), 6)])
    assert changes(data, edits, other).documents == {5, 9, moved}
    for intervention in (
        Intervention(swap="pronouns"),
        Intervention(replace=[("9", str(tmp_path / "new.txt"))]),
    ):
        with pytest.raises(PileToolsError, match=r"none\.json"):
            changes(data, intervention, other)


def test_every_changed_sample_is_whole_and_shows_no_dropped_document(data: Path) -> None:
    moved = shortest_document(data, {5, 6})
    changed = changes(data, Intervention(drop=["5,6"], move=[(str(moved), 6)]))
    assert changed.documents == {5, 6, moved}
    assert changed.samples
    for pieces in changed.samples.values():
        assert sum(n_tokens for _, _, n_tokens in pieces) == 33
        assert not {document for document, _, _ in pieces} & {5, 6}
    shown = {sample for sample, pieces in changed.samples.items() if moved in {piece[0] for piece in pieces}}
    assert shown
    assert shown <= set(range(24, 28))


def test_swapped_tokens_change_no_piece(data: Path, tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text(" he\t she\n")
    tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
    pair = tuple(tokenizer.encode(word).ids[0] for word in (" he", " she"))
    assert changes(data, Intervention(swap=str(tmp_path / "table.tsv"))) == ChangedSamples(swaps=(pair,))


def test_words_of_several_tokens_and_documents_are_not_changed_at_once(data: Path) -> None:
    both = Intervention(swap="pronouns", allow_length_change=True, drop=["5"])
    with pytest.raises(ParameterError, match="make two overlays, that of the documents first"):
        changes(data, both)
