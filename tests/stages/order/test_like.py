"""The documents of one dataset in the order of another, against the same in plain Python."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.checks.checks import verify
from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.documents_parquet import ProvenanceWriter, provenance_table
from pile_tools.formats.order_json import parse_record
from pile_tools.stages.digest import digest
from pile_tools.stages.order import like as order_like
from pile_tools.stages.order.blend import make_blend
from pile_tools.stages.order.like import make_order_like
from pile_tools.stages.order.order import make_order
from pile_tools.storage.atomic import atomic_write
from tests.lookups.conftest import write_provenance
from tests.reference.orders import sample_starts
from tests.token_data import random_documents, write_dataset

SIZES = [9, 2, 40, 3, 17, 1] * 4
OTHER_SIZES = [4, 1, 25, 1, 11, 2] * 4
ORDER = {"seq_length": 8, "batch_size": 4, "num_samples": 60, "seed": 7}


def corpus_tokenised(directory: Path, sizes: Sequence[int], seed: int = 0) -> Path:
    """Documents of so many tokens; those of two datasets of equal length are the same ones."""
    write_dataset(directory, random_documents(seed, sizes))
    write_provenance(directory, sizes)
    return directory


@pytest.fixture
def other(tmp_path: Path) -> Path:
    directory = corpus_tokenised(tmp_path / "other", SIZES)
    make_order(directory, **ORDER)
    return directory


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return corpus_tokenised(tmp_path / "data", OTHER_SIZES, 1)


def maps(directory: Path, record: Any) -> list[Any]:
    return [np.load(directory / entry.name) for entry in record.files]


def plain_shuffle_idx(seed: int, doc_idx_parts: list[int], sample_parts: list[int]) -> list[int]:
    """Shuffles of so many documents, thrown away, and then of the samples."""
    generator = np.random.RandomState(seed)
    for length in doc_idx_parts:
        generator.shuffle(np.empty(length, np.int32))
    found: list[int] = []
    for start, stop in zip([0, *sample_parts], sample_parts, strict=False):
        part = np.arange(start, stop, dtype=np.uint32)
        generator.shuffle(part)
        found += part.tolist()
    return found


@settings(max_examples=40)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=2, max_size=12),
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    batches=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    num_samples=st.integers(4, 60),
    recipe=st.sampled_from(["neox", "megatron-core"]),
)
def test_against_plain_python(
    sizes: list[tuple[int, int]],
    lengths: tuple[int, int],
    batches: tuple[int, int],
    num_samples: int,
    recipe: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("like")
    olds, news = (list(column) for column in zip(*sizes, strict=True))
    other, data = corpus_tokenised(directory / "other", olds), corpus_tokenised(directory / "data", news, 1)
    length, batch_size = lengths[1], batches[1]
    shape = {"seq_length": lengths[0], "batch_size": batches[0], "num_samples": num_samples}
    old = make_order(other, recipe=recipe, seed=3, **shape).record
    share = (old.epochs * sum(olds) - 1) // lengths[0]
    samples = (old.epochs * sum(news) - 1) // length
    steps = num_samples * samples // share // batch_size
    if steps == 0:
        with pytest.raises(ParameterError, match="is not one step of"):
            make_order_like(data, other, seq_length=length, batch_size=batch_size)
        return
    kept = make_order_like(data, other, seq_length=length, batch_size=batch_size)
    record = kept.summary.record
    assert (record.steps, record.samples, record.epochs) == (steps, steps * batch_size, old.epochs)
    assert (kept.before.samples_in_order, kept.after.samples_in_order) == (share, samples)
    assert (kept.before.tokens, kept.after.tokens) == (sum(olds), sum(news))
    doc_idx, sample_idx, shuffle_idx = maps(data, record)
    theirs, _, other_shuffle = maps(other, old)
    assert doc_idx.tolist() == theirs.tolist()
    assert sample_idx.tolist() == sample_starts(news, doc_idx.tolist(), length, samples)
    # Of a last epoch that was shuffled apart, documents and samples stay apart.
    one, before = (old.epochs - 1) * len(olds), ((old.epochs - 1) * sum(olds) - 1) // lengths[0]
    apart = (
        recipe == "megatron-core"
        and old.epochs > 1
        and num_samples - before < int(0.8 * ((sum(olds) - 1) // lengths[0]))
    )
    assert other_shuffle.tolist() == plain_shuffle_idx(
        3, [one, len(olds)] if apart else [one + len(olds)], [before, share] if apart else [share]
    )
    new_before = ((old.epochs - 1) * sum(news) - 1) // length
    assert shuffle_idx.tolist() == plain_shuffle_idx(
        3, [one, len(olds)] if apart else [one + len(olds)], [new_before, samples] if apart else [samples]
    )
    assert "as the recipe" in verify([data])[-1].message
    viewer = BatchViewer.open(data)
    assert viewer.steps == steps
    stream = [token for number in doc_idx for token in viewer.dataset.sequence(int(number)).tolist()]
    start = int(shuffle_idx[0]) * length
    assert viewer.sequence(0, 0).tolist() == stream[start : start + length + 1]


def test_the_record_names_the_other_order(data: Path, other: Path) -> None:
    old = make_order(other, **ORDER).record
    kept = make_order_like(data, other)
    record = kept.summary.record
    assert parse_record((data / "order.json").read_bytes(), "") == record
    assert record.like is not None
    assert (record.like.label, record.like.record) == (old.label, old.identity)
    assert (record.like.dataset, record.like.manifest) == (old.dataset, old.manifest)
    # Neither digests nor a second run change what the chain says.
    digest(BatchViewer.open(other))
    again = make_order_like(data, other)
    assert again.summary.existed
    assert again.summary.record == record
    # A chain of three, and one dataset cut anew.
    third = corpus_tokenised(data.parent / "third", SIZES[::-1], 2)
    chained = make_order_like(third, data, seq_length=5).summary.record
    assert chained.like is not None
    assert chained.like.record == record.identity
    assert maps(third, chained)[0].tolist() == maps(other, old)[0].tolist()
    assert "as the recipe neox makes it with seed 7" in verify([third])[-1].message


def test_what_is_given_is_kept(data: Path, other: Path, tmp_path: Path) -> None:
    given = make_order_like(
        data, other, seq_length=4, batch_size=3, steps=5, num_samples=17, name="mine", output=tmp_path / "o"
    ).summary
    record = given.record
    assert record.label == "document_mine_indexmap_17ns_4sl_7s"
    assert (record.steps, record.samples, record.batch_size) == (5, 15, 3)
    assert given.path == tmp_path / "o" / "order.json"
    with pytest.raises(ParameterError, match=r"data.document: 2 epochs of .* not 999"):
        make_order_like(data, other, num_samples=999)
    # The very same maps, but not of these parameters.
    make_order(data, **(ORDER | {"num_samples": 32}))
    with pytest.raises(PileToolsError, match="like None, now"):
        make_order_like(data, other, steps=8)


def provenance(directory: Path, names: list[str], rows: list[int], digests: list[bytes]) -> None:
    with atomic_write(directory / "documents.parquet") as file, ProvenanceWriter(file) as writer:
        for name, row, digest in zip(names, rows, digests, strict=True):
            writer.write(provenance_table(name, [row], [None], [2], [digest]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("a", 5, b"x" * 16), r"document 9 is a row 5, but a row 9 in .*other.document; they are not of"),
        (("b", 9, b"x" * 16), r"document 9 is b row 9, but a row 9 in .*other"),
        (("a", 9, b"y" * 16), r"document 9 \(a row 9\) has another text than in .*other.document; they"),
    ],
)
def test_other_documents_are_refused(
    change: tuple[str, int, bytes], message: str, data: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, rows, digests = ["a"] * 24, list(range(24)), [b"x" * 16] * 24
    provenance(other, names, rows, digests)
    # Rows that stand in other groups, and are compared in other batches, are the same rows.
    monkeypatch.setattr(order_like, "_ROWS", 7)
    with monkeypatch.context() as patch:
        patch.setattr("pile_tools.formats.documents_parquet.ROW_GROUP_ROWS", 5)
        provenance(data, names, rows, digests)
    make_order_like(data, other, output=data / "orders")
    names[9], rows[9], digests[9] = change
    provenance(data, names, rows, digests)
    with pytest.raises(DataError, match=message):
        make_order_like(data, other)
    assert not list(data.glob("*.npy"))


def test_what_has_no_order_of_documents(data: Path, other: Path, tmp_path: Path) -> None:
    short = corpus_tokenised(tmp_path / "short", OTHER_SIZES[:-1])
    with pytest.raises(DataError, match=r"short/document: 23 documents, but .*other/document has 24"):
        make_order_like(short, other)
    blend = tmp_path / "blend"
    make_blend([data, other], ["1", "1"], blend, seq_length=8, batch_size=4, num_samples=20)
    for place in (blend, other):
        with pytest.raises(ParameterError, match="blend: a blend of several datasets"):
            make_order_like(*((data, blend) if place is blend else (blend, other)))
    with pytest.raises(ParameterError, match="a sequential order, which has no order of documents"):
        make_order_like(data, other, like_order="sequential")
    (other / "order.json").unlink()
    with pytest.raises(ParameterError, match="maps without a record of their recipe; run `pile-tools order`"):
        make_order_like(data, other)
    make_order(other, **ORDER)
    shuffled = next(other.glob("*_doc_idx.npy"))
    np.save(shuffled, np.load(shuffled)[::-1].copy())
    with pytest.raises(DataError, match=r"doc_idx.npy: not what the recipe neox makes with seed 7"):
        make_order_like(data, other)
    (data / "documents.parquet").unlink()
    with pytest.raises(DataError, match=r"data/documents.parquet: missing, so it is not known which"):
        make_order_like(data, other)


def test_an_order_of_another_dataset(data: Path, other: Path) -> None:
    shutil.copy(data / "document.idx", other)
    shutil.copy(data / "document.bin", other)
    with pytest.raises(DataError, match="an order of another token dataset than"):
        make_order_like(data, other)
