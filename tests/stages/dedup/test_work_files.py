"""Work files of a deduplication: documents numbered across shards, and what goes when shards change."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.algorithms.dedup.lsh import Bands
from pile_tools.formats.npy import write_npy
from pile_tools.formats.signatures import DOCUMENT
from pile_tools.stages.dedup import work_files
from pile_tools.stages.dedup.work_files import CorpusFiles, DedupPaths


def made(root: Path, sizes: list[int]) -> CorpusFiles:
    paths = DedupPaths(root)
    paths.make()
    for shard, size in enumerate(sizes):
        documents = np.zeros(size, DOCUMENT)
        documents["row"] = 10 * np.arange(size) + shard
        write_npy(paths.documents(shard), documents)
    return CorpusFiles(paths, len(sizes))


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=5), data=st.data())
def test_documents_are_numbered_in_corpus_order(
    sizes: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = made(tmp_path_factory.mktemp("files"), sizes)
    addresses = [(shard, document) for shard, size in enumerate(sizes) for document in range(size)]
    assert files.documents == len(addresses)
    chosen = st.sets(st.integers(0, len(addresses) - 1)) if addresses else st.just(set[int]())
    ids = np.array(sorted(data.draw(chosen)), np.int64)
    assert files.shard_of(ids).tolist() == [addresses[i][0] for i in ids]
    assert files.gather(ids, "row").tolist() == [10 * addresses[i][1] + addresses[i][0] for i in ids]
    assert [(shard, d) for shard, _, local in files.by_shard(ids) for d in local.tolist()] == [
        addresses[i] for i in ids
    ]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("chunk", [2, 3, 100])
def test_keys_of_a_band_are_read_from_all_chunks(
    wide: bool, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_files, "KEY_CHUNK", chunk)
    files, bands, planes = made(tmp_path, [7]), Bands(3, 4), 1 + wide
    keys = np.arange(planes * 3 * 7, dtype=np.uint64).reshape(planes, 3, 7)
    chunks = [keys[:, :, start : start + chunk].reshape(-1) for start in range(0, 7, chunk)]
    write_npy(files.paths.keys(0), np.concatenate(chunks))
    for plane in range(planes):
        for band in range(3):
            assert np.array_equal(files.read_keys(0, plane, band, bands, wide), keys[plane, band])


def test_what_was_signed_is_forgotten_only_where_nothing_was_made_of_it(tmp_path: Path) -> None:
    files = made(tmp_path, [1, 1, 1])
    assert files.paths.forget({1})
    assert [files.paths.documents(shard).exists() for shard in range(3)] == [True, False, True]
    files.paths.candidates.touch()
    assert not files.paths.forget({0})
    assert files.paths.documents(0).exists()
    files.paths.remove()
    assert list(tmp_path.iterdir()) == []
