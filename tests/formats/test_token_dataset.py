"""Token datasets: whole or in shards, found by directory or prefix, refused when parts do not agree."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from pile_tools.errors import DataError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats import token_dataset
from pile_tools.formats.mmidx import write_index
from pile_tools.formats.token_dataset import TokenDataset, find_dataset
from pile_tools.storage.store import Io
from tests.token_data import GOLDEN, random_documents, write_data, write_dataset

SIZES = [5, 0, 17, 1, 30, 2]


@pytest.mark.parametrize("dtype", ["<u2", "<i4"])
@pytest.mark.parametrize("shard_bytes", [None, 7, 16, 40, 1000])
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_sequences_come_back_however_the_data_is_cut_and_read(
    tmp_path: Path, dtype: str, shard_bytes: int | None, io: Io
) -> None:
    documents = random_documents(0, SIZES, dtype)
    dataset = TokenDataset.open(write_dataset(tmp_path, documents, shard_bytes=shard_bytes), io=io)
    assert dataset.is_mapped == (io == "mmap")
    assert dataset.dtype == np.dtype(dtype)
    assert (dataset.n_sequences, dataset.n_tokens) == (len(SIZES), sum(SIZES))
    for number, document in enumerate(documents):
        np.testing.assert_array_equal(dataset.sequence(number), document)
    with pytest.raises(ParameterError, match="no sequence 6 of 6"):
        dataset.sequence(6)


def test_what_gpt_neox_wrote_opens() -> None:
    dataset = TokenDataset.open(GOLDEN / "neox" / "small_u16")
    assert (dataset.n_sequences, dataset.n_tokens) == (305, 52396)
    assert dataset.manifest is None
    assert all(dataset.sequence(number)[-1] == 0 for number in range(305))


def test_it_is_found_by_directory_prefix_and_file(tmp_path: Path) -> None:
    prefix = write_dataset(tmp_path / "d", random_documents(0, SIZES), prefix="pile_0.87_text")
    for location in (prefix.parent, prefix, f"{prefix}.idx", f"{prefix}.bin", f"{prefix.parent}/"):
        store, found = find_dataset(location)
        assert (store.path, found) == (prefix.parent, prefix.name)
    with pytest.raises(PileToolsError, match="no token dataset"):
        find_dataset(tmp_path)
    with pytest.raises(PileToolsError, match=r"other\.idx: no such file"):
        find_dataset(prefix.parent / "other")
    write_dataset(tmp_path / "d", random_documents(1, SIZES), prefix="b")
    with pytest.raises(ParameterError, match=r"name one of .*d/b, .*pile_0\.87_text"):
        find_dataset(prefix.parent)
    (prefix.parent / ".unfinished").mkdir()
    with pytest.raises(UnfinishedError, match="the command that makes it"):
        find_dataset(prefix.parent)


def test_identity_is_that_of_the_content(tmp_path: Path) -> None:
    documents = random_documents(0, SIZES)
    one = TokenDataset.open(write_dataset(tmp_path / "a", documents))
    two = TokenDataset.open(write_dataset(tmp_path / "b", documents, shard_bytes=16, prefix="other"))
    assert one.identity == two.identity
    others = [random_documents(1, SIZES), random_documents(0, SIZES, "<i4"), documents[::-1], documents[:-1]]
    for number, other in enumerate(others):
        dataset = TokenDataset.open(write_dataset(tmp_path / f"c{number}", other))
        assert dataset.identity != one.identity


def test_identity_of_a_large_dataset_is_that_of_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_dataset, "_SAMPLE_WHOLE", 256)
    monkeypatch.setattr(token_dataset, "_SAMPLE_BLOCK", 16)
    documents = random_documents(0, [5000] * 3)
    identities = {
        TokenDataset.open(write_dataset(tmp_path / str(cut), documents, shard_bytes=cut), io=io).identity
        for cut in (None, 999, 4096)
        for io in ("mmap", "pread")
    }
    assert len(identities) == 1
    for place in (0, -1):
        documents[place][place] ^= 1
        changed = TokenDataset.open(write_dataset(tmp_path / "changed", documents)).identity
        assert changed not in identities


@pytest.mark.parametrize("change", ["truncated", "extended", "missing shard", "short shard", "two sets"])
@pytest.mark.parametrize("shard_bytes", [None, 40])
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_data_that_does_not_agree(tmp_path: Path, change: str, shard_bytes: int | None, io: Io) -> None:
    prefix = write_dataset(tmp_path, random_documents(0, SIZES), shard_bytes=shard_bytes)
    last = prefix.with_name("document.bin" if shard_bytes is None else "document-00002-of-00002.bin")
    first = prefix.with_name("document-00000-of-00002.bin")
    if change == "truncated":
        last.write_bytes(last.read_bytes()[:-1])
    elif change == "extended":
        last.write_bytes(last.read_bytes() + b"\0")
    elif change == "two sets":
        write_data(tmp_path, "document", bytes(10), 5)
    elif shard_bytes is None:
        last.unlink()
        with pytest.raises(PileToolsError, match=r"document\.bin: no such file"):
            TokenDataset.open(prefix, io=io)
        return
    elif change == "missing shard":
        first.unlink()
    else:
        first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"document"):
        TokenDataset.open(prefix, io=io)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("whole", [True, False])
def test_an_index_that_does_not_agree(
    tmp_path: Path, io: Io, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_dataset, "WHOLE_CHECK", 100 if whole else 0)
    prefix = write_dataset(tmp_path, random_documents(0, SIZES))
    index = prefix.with_name("document.idx")
    content = index.read_bytes()
    for place, value in [(34, -5), (34 + 4 * 5, -1), (34 + 24 + 8 * 5, 7)]:
        index.write_bytes(content[:place] + struct.pack("<i", value) + content[place + 4 :])
        with pytest.raises(DataError, match=r"document\.idx: .*damaged"):
            TokenDataset.open(prefix, io=io)
    index.write_bytes(content)
    assert TokenDataset.open(prefix, io=io).n_tokens == sum(SIZES)


def test_an_empty_dataset(tmp_path: Path) -> None:
    write_index(tmp_path / "document.idx", np.uint16, [])
    (tmp_path / "document.bin").touch()
    for io in ("mmap", "pread"):
        assert TokenDataset.open(tmp_path, io=io).n_tokens == 0


def test_shards_of_another_prefix_are_not_mixed_in(tmp_path: Path) -> None:
    prefix = write_dataset(tmp_path, random_documents(0, SIZES), shard_bytes=40, prefix="a")
    write_dataset(tmp_path, random_documents(0, SIZES), shard_bytes=30, prefix="a-b")
    assert len(TokenDataset.open(prefix).parts) == 3
    shutil.copy(tmp_path / "a-b.idx", tmp_path / "c.idx")
    with pytest.raises(PileToolsError, match="no such file, and no shards"):
        TokenDataset.open(tmp_path / "c")
