"""The stream of a dataset in an order: its steps at any batch size, its identity, and who may share it."""

import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.stages.order.order import make_order
from pile_tools.storage.manifest import Manifest, sha256_file
from tests.reference import orders
from tests.strategies import document_sizes
from tests.stream.conftest import everything
from tests.token_data import (
    SIZES,
    random_documents,
    save_tokenizer,
    write_dataset,
)


@settings(deadline=None, max_examples=60)
@given(
    sizes=document_sizes(max_size=12),
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


def test_a_last_partial_batch_is_no_step(data: Path) -> None:
    assert BatchViewer.open(data, batch_size=13).steps == 3
    viewer = BatchViewer.open(data, batch_size=41)
    assert viewer.steps == 0
    with pytest.raises(OutOfRangeError, match="not one whole batch"):
        viewer.batch(0)
    with pytest.raises(ParameterError, match="batch_size 0"):
        BatchViewer.open(data, batch_size=0)


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


def _digests(viewer: BatchViewer, steps: list[int]) -> list[str]:
    return [viewer.step_digest(step) for step in steps]


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.slow
def test_processes_share_a_viewer(data: Path, method: str) -> None:
    viewer = BatchViewer.open(data)
    expected = _digests(viewer, list(range(10)))
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.starmap(_digests, [(viewer, [0, 1, 2, 3, 4]), (viewer, [5, 6, 7, 8, 9])])
    assert parts[0] + parts[1] == expected


def test_another_process_finds_the_same_or_an_error(data: Path) -> None:
    sent = pickle.dumps(BatchViewer.open(data, batch_size=2, io="pread"))
    assert pickle.loads(sent).batch_size == 2
    shutil.rmtree(data)
    write_dataset(data, random_documents(5, SIZES))
    make_order(data, seq_length=8, batch_size=4, steps=10)
    with pytest.raises(DataError, match="changed since another process opened it"):
        pickle.loads(sent)


def test_threads_share_a_viewer(data: Path) -> None:
    for io in ("mmap", "pread"):
        viewer = BatchViewer.open(data, io=io)
        expected = everything(BatchViewer.open(data))
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(everything, [viewer] * 6)) == [expected] * 6


def test_a_read_only_directory_can_be_read(data: Path) -> None:
    paths = [data, *data.iterdir()]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        viewer = BatchViewer.open(data)
        assert everything(viewer)
        with pytest.raises(OutOfRangeError):
            viewer.batch(10)
    finally:
        for path in paths:
            path.chmod(0o755)
