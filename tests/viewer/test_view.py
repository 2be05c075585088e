"""BatchViewer: what GPT-NeoX would have shown to the model, from whatever lies on disk."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.manifest import Manifest, sha256_file
from pile_tools.formats.provenance import ProvenanceWriter, provenance_table
from pile_tools.stages.order import make_order
from tests.reference import orders
from tests.token_data import GOLDEN, random_documents, write_data, write_dataset

CASES = [
    (name, case)
    for name in ("small_u16", "small_i32")
    for case in json.loads((GOLDEN / "neox" / name / "expect.json").read_text())["orders"]
]
IDS = [f"{name}-{case['seq_length']}-{case['seed']}" for name, case in CASES]
SIZES = [9, 0, 40, 3, 17, 1] * 4


def sequences_sha256(viewer: BatchViewer, number: int) -> str:
    rows = [row for step in range(viewer.steps) for row in viewer.batch(step)]
    return hashlib.sha256(b"".join(row.tobytes() for row in rows[:number])).hexdigest()


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_sequences_are_those_of_gpt_neox(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "neox" / name, tmp_path / "data")
    for path in (tmp_path / "data").glob("*.npy"):
        path.unlink()
    make_order(
        tmp_path / "data",
        seq_length=case["seq_length"],
        batch_size=10,
        num_samples=case["num_samples"],
        seed=case["seed"],
    )
    viewer = BatchViewer.open(tmp_path / "data")
    assert viewer.steps == case["num_samples"] // 10
    assert sequences_sha256(viewer, case["sequences"]) == case["sequences_sha256"]
    # The same from shards that samples and tokens straddle.
    content = (tmp_path / "data" / "document.bin").read_bytes()
    (tmp_path / "data" / "document.bin").unlink()
    write_data(tmp_path / "data", "document", content, 9973)
    sharded = BatchViewer.open(tmp_path / "data")
    assert sequences_sha256(sharded, case["sequences"]) == case["sequences_sha256"]
    assert sharded.identity == viewer.identity


@pytest.mark.parametrize(
    ("label", "batch_size"), [("40ns_2048sl_1234s", 8), ("900ns_128sl_1234s", 30), ("900ns_128sl_1234s", 1)]
)
def test_maps_that_gpt_neox_saved(label: str, batch_size: int) -> None:
    golden = GOLDEN / "neox" / "small_u16"
    viewer = BatchViewer.open(golden, order=f"train_0_indexmap_{label}", batch_size=batch_size)
    case = next(case for name, case in CASES if name == "small_u16" and f"{case['seq_length']}sl" in label)
    assert viewer.seq_length == case["seq_length"]
    assert viewer.dtype == np.uint16
    assert sequences_sha256(viewer, case["sequences"]) == case["sequences_sha256"]
    with pytest.raises(ParameterError, match="--batch-size"):
        BatchViewer.open(golden, order=f"train_0_indexmap_{label}")
    with pytest.raises(ParameterError, match="name one with --order"):
        BatchViewer.open(golden, batch_size=batch_size)


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) >= 2),
    seq_length=st.integers(1, 20),
    num_samples=st.integers(1, 30),
    batch_sizes=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    dtype=st.sampled_from(["<u2", "<i4"]),
    shard_bytes=st.one_of(st.none(), st.integers(1, 50)),
)
def test_any_batch_size_reads_the_same_stream(
    sizes: list[int],
    seq_length: int,
    num_samples: int,
    batch_sizes: tuple[int, int],
    dtype: str,
    shard_bytes: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("data")
    documents = random_documents(0, sizes, dtype)
    write_dataset(directory, documents, shard_bytes=shard_bytes)
    make_order(directory, seq_length=seq_length, batch_size=batch_sizes[0], num_samples=num_samples, seed=5)
    arrays = orders.neox(sizes, seq_length, num_samples, 5)
    expected = [
        orders.sequence([document.tolist() for document in documents], arrays, seq_length, number)
        for number in range(num_samples)
    ]
    for batch_size in (None, batch_sizes[1]):
        viewer = BatchViewer.open(directory, batch_size=batch_size)
        size = batch_size or batch_sizes[0]
        assert viewer.batch_size == size
        assert viewer.steps == num_samples // size
        for step in range(viewer.steps):
            batch = viewer.batch(step)
            assert batch.dtype == np.dtype(dtype)
            assert batch.tolist() == expected[step * size : (step + 1) * size]
        with pytest.raises(OutOfRangeError):
            viewer.batch(viewer.steps)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of 24 documents with an order of 10 steps of 4 sequences of 9 tokens."""
    directory = write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    return directory


def test_every_way_of_reading_gives_the_same_tokens(data: Path) -> None:
    viewer = BatchViewer.open(data)
    batch = viewer.batch(3)
    assert batch.shape == (4, 9)
    inputs, labels = viewer.inputs_labels(3)
    np.testing.assert_array_equal(inputs, batch[:, :-1])
    np.testing.assert_array_equal(labels, batch[:, 1:])
    assert inputs.base is labels.base
    for row in range(4):
        np.testing.assert_array_equal(viewer.sequence(3, row), batch[row])
    several = list(viewer.batches(2, 5))
    assert len(several) == 3
    np.testing.assert_array_equal(several[1], batch)
    assert viewer.digest(3) == xxhash.xxh3_128_hexdigest(batch.tobytes())
    assert viewer.batch(np.int64(3)).tolist() == batch.tolist()
    assert list(viewer.batches(4, 4)) == []


@pytest.mark.parametrize("case", json.loads((GOLDEN / "neox" / "ranks.json").read_text()))
def test_ranks_read_what_gpt_neox_gives_them(case: dict[str, Any], data: Path) -> None:
    viewer = BatchViewer.open(data, batch_size=case["global_batch"])
    whole = BatchViewer.open(data, batch_size=1)
    for rank, batches in enumerate(case["first_three_batches_by_rank"]):
        for step, samples in enumerate(batches):
            if step < viewer.steps:
                rows = viewer.rank_batch(step, rank=rank, world_size=case["world_size"])
                assert rows.tolist() == [whole.batch(sample)[0].tolist() for sample in samples]


def test_micro_batches_interleave_the_ranks(data: Path) -> None:
    viewer = BatchViewer.open(data, batch_size=12)
    batch = viewer.batch(1)
    rows = viewer.rank_batch(1, rank=1, world_size=3, micro_batch_size=2)
    np.testing.assert_array_equal(rows, batch[[2, 3, 8, 9]])
    for parameters in (
        {"rank": 3, "world_size": 3},
        {"rank": -1, "world_size": 3},
        {"rank": 0, "world_size": 0},
        {"rank": 0, "world_size": 5},
        {"rank": 0, "world_size": 3, "micro_batch_size": 3},
        {"rank": 0, "world_size": 3, "micro_batch_size": 0},
        {"rank": 0, "world_size": 24},
    ):
        with pytest.raises(ParameterError, match="rank"):
            viewer.rank_batch(1, **parameters)


@pytest.mark.parametrize(("step", "row"), [(10, 0), (-1, 0), (10**12, 0), (0, 4), (0, -1)])
def test_out_of_range(step: int, row: int, data: Path) -> None:
    viewer = BatchViewer.open(data)
    for read in (viewer.sequence, viewer.trace, viewer.pieces):
        with pytest.raises(OutOfRangeError, match=r"no step|no row"):
            read(step, row)
    if row == 0:
        for read_step in (viewer.batch, viewer.digest, viewer.inputs_labels):
            with pytest.raises(OutOfRangeError, match=f"no step {step} at batch size 4; the last is 9"):
                read_step(step)
        with pytest.raises(OutOfRangeError):
            viewer.batches(0, 11)
        with pytest.raises(OutOfRangeError):
            viewer.rank_batch(step, rank=0, world_size=1)
    with pytest.raises(TypeError):
        viewer.batch(1.0)  # type: ignore[arg-type]


def test_a_last_partial_batch_is_no_step(data: Path) -> None:
    assert BatchViewer.open(data, batch_size=13).steps == 3
    viewer = BatchViewer.open(data, batch_size=41)
    assert viewer.steps == 0
    with pytest.raises(OutOfRangeError, match="not one whole batch"):
        viewer.batch(0)
    with pytest.raises(ParameterError, match="batch_size 0"):
        BatchViewer.open(data, batch_size=0)


def add_provenance(directory: Path, rows: int) -> None:
    with atomic_write(directory / "documents.parquet") as file, ProvenanceWriter(file) as writer:
        for shard in range(4):
            numbers = range(shard * 6, min((shard + 1) * 6, rows))
            sources = [["Web", None, "Code"][number % 3] for number in numbers]
            sizes = [SIZES[number] for number in numbers]
            digests = [bytes(16)] * len(sizes)
            writer.write(provenance_table(f"{shard}.jsonl", range(len(sizes)), sources, sizes, digests))


@pytest.mark.parametrize("provenance", [False, True])
def test_trace_leads_from_each_token_to_its_document(data: Path, provenance: bool) -> None:
    if provenance:
        add_provenance(data, 24)
    documents = random_documents(0, SIZES)
    viewer = BatchViewer.open(data)
    for step in range(viewer.steps):
        for row in range(4):
            table = viewer.trace(step, row)
            assert table.schema.types == [pa.int64()] * 4 + [pa.string(), pa.int64(), pa.string()]
            tokens: list[npt.NDArray[Any]] = []
            for piece in table.to_pylist():
                assert piece["position"] == sum(map(len, tokens))
                begin, number = piece["offset"], piece["document"]
                tokens.append(documents[number][begin : begin + piece["n_tokens"]])
                expected = (f"{number // 6}.jsonl", number % 6, ["Web", None, "Code"][number % 3])
                found = (piece["shard"], piece["row"], piece["source"])
                assert found == (expected if provenance else (None, None, None))
            np.testing.assert_array_equal(np.concatenate(tokens), viewer.sequence(step, row))


def test_provenance_of_another_dataset_is_refused(data: Path) -> None:
    add_provenance(data, 23)
    with pytest.raises(DataError, match=r"documents\.parquet: 23 documents"):
        BatchViewer.open(data).trace(0, 0)


def save_tokenizer(path: Path, size: int) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"w{number}" for number in range(size - len(alphabet)))]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))


def test_text_needs_the_tokenizer_of_the_dataset(data: Path, tmp_path: Path) -> None:
    viewer = BatchViewer.open(data)
    assert not viewer.has_tokenizer
    assert viewer.pieces(0, 0)[0].text is None
    with pytest.raises(ParameterError, match="--tokenizer"):
        viewer.text(0, 0)
    save_tokenizer(tmp_path / "small.json", 1000)
    with pytest.raises(DataError, match=r"the tokenizer's largest is 999"):
        BatchViewer.open(data, tokenizer=tmp_path / "small.json").text(0, 0)
    save_tokenizer(tmp_path / "large.json", 60_000)
    given_one = BatchViewer.open(data, tokenizer=tmp_path / "large.json")
    text = given_one.text(0, 0)
    assert "".join(piece.text or "" for piece in given_one.pieces(0, 0)) == text
    shutil.copy(tmp_path / "large.json", data / "tokenizer.json")
    assert BatchViewer.open(data).text(0, 0) == text
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(DataError, match="not a usable tokenizer"):
        BatchViewer.open(data, tokenizer=tmp_path / "bad.json").text(0, 0)


def test_a_tokenizer_with_another_hash_is_refused(tmp_path: Path) -> None:
    directory = write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent
    save_tokenizer(directory / "tokenizer.json", 60_000)
    parameters = {"tokenizer": {"name": "t", "sha256": sha256_file(directory / "tokenizer.json")}}
    Manifest("tokenize", parameters, [], []).write(directory)
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    assert BatchViewer.open(directory).text(0, 0)
    save_tokenizer(tmp_path / "other.json", 59_999)
    with pytest.raises(DataError, match="give the tokenizer that made it"):
        BatchViewer.open(directory, tokenizer=tmp_path / "other.json").text(0, 0)
    shutil.copy(tmp_path / "other.json", directory / "tokenizer.json")
    with pytest.raises(DataError, match=r"tokenizer\.json: SHA-256"):
        BatchViewer.open(directory).text(0, 0)


def test_an_order_of_another_dataset_is_refused(data: Path, tmp_path: Path) -> None:
    same_sizes = write_dataset(tmp_path / "other", random_documents(1, SIZES)).parent
    for path in data.glob("*.npy"):
        shutil.copy(path, same_sizes)
    shutil.copy(data / "order.json", same_sizes)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(same_sizes)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(same_sizes, order=data)
    # Bare maps carry no identity, but they must fit the sizes of the documents.
    other_sizes = write_dataset(tmp_path / "third", random_documents(1, SIZES[::-1])).parent
    for path in data.glob("*.npy"):
        shutil.copy(path, other_sizes)
    with pytest.raises(DataError, match="damaged or of another dataset"):
        BatchViewer.open(other_sizes, batch_size=4)


def test_an_order_of_an_earlier_tokenization_is_refused(data: Path) -> None:
    Manifest("tokenize", {"version": 1}, [], []).write(data)
    BatchViewer.open(data)  # made before there was a manifest to name
    (data / "order.json").unlink()
    make_order(data, seq_length=8, batch_size=4, steps=10)
    Manifest("tokenize", {"version": 2}, [], []).write(data)
    with pytest.raises(DataError, match="an order of another token dataset"):
        BatchViewer.open(data)


def test_maps_damaged_after_they_were_opened_are_met_in_the_lookup(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pile_tools.viewer.components.WHOLE_CHECK", 0)
    path = data / "document_train_0_indexmap_40ns_8sl_1234s_shuffle_idx.npy"
    shuffle = np.load(path)
    shuffle[5] = 4_000_000_000
    np.save(path, shuffle)
    with pytest.raises(DataError, match=r"holds 4000000000 at place 5.*no permutation"):
        BatchViewer.open(data).batch(0)
    viewer = BatchViewer.open(data, trust_files=True)
    viewer.batch(0)
    with pytest.raises(DataError, match=r"holds sample 4000000000.*damaged or of another dataset"):
        viewer.batch(1)


def test_identity_is_that_of_the_stream(data: Path, tmp_path: Path) -> None:
    one = BatchViewer.open(data)
    assert BatchViewer.open(data, batch_size=2).identity == one.identity
    (data / "order.json").unlink()
    assert BatchViewer.open(data, batch_size=4).identity == one.identity
    shutil.copytree(data, tmp_path / "copy")
    for path in (tmp_path / "copy").glob("*.npy"):
        path.unlink()
    make_order(tmp_path / "copy", seq_length=8, batch_size=4, steps=10, seed=7)
    assert BatchViewer.open(tmp_path / "copy").identity != one.identity


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such file"):
        BatchViewer.open(tmp_path / "nowhere")
    with pytest.raises(PileToolsError, match="no token dataset"):
        BatchViewer.open(tmp_path)
    write_dataset(tmp_path, random_documents(0, SIZES))
    with pytest.raises(PileToolsError, match="make one with `pile-tools order`"):
        BatchViewer.open(tmp_path)


def test_reading_writes_nothing(data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [data, *data.iterdir()]}
    viewer = BatchViewer.open(data)
    viewer.batch(0)
    viewer.trace(0, 0)
    assert viewer.identity
    assert {path: path.stat().st_mtime_ns for path in [data, *data.iterdir()]} == before
