"""Sets of shingles on the disk, and the similarity of pairs of them, against Python's sets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pile_tools.corpus.shards import Shard
from pile_tools.errors import DataError
from pile_tools.formats.npy import write_npy
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.stages.dedup.shingle_sets import SetStore, verify_pairs, write_sets
from pile_tools.stages.dedup.sign import sign_shard
from pile_tools.stages.dedup.work_files import CorpusFiles, DedupPaths
from tests.reference import dedup as oracle
from tests.stages.dedup.corpora import record, write_zst


def store_of(root: Path, texts: list[str], candidates: list[bool]) -> SetStore:
    paths = DedupPaths(root)
    paths.make()
    shards = []
    for index, part in enumerate((texts[:2], texts[2:])):
        write_zst(root / f"{index}.jsonl.zst", [record(text) for text in part])
        shards.append(Shard(root / f"{index}.jsonl.zst", f"{index}.jsonl.zst"))
        sign_shard(shards[-1], resolve_job(), paths, index)
    files = CorpusFiles(paths, len(shards))
    write_npy(paths.candidates, np.array(candidates))
    for index, shard in enumerate(shards):
        write_sets(shard, resolve_job(), files, index)
    return SetStore(files)


words = st.lists(st.sampled_from("ab"), min_size=5, max_size=14).map(" ".join)


@given(
    texts=st.lists(words, min_size=4, max_size=6),
    threshold=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    budget=st.sampled_from([1, 200, 1 << 20]),
)
@example(  # 8 of 10 shingles are common, which reaches 0.8
    texts=["a a a a a", "a a a a a", "b b b b b a a b a a b a b a", "b b b b b a a b a a b a b b"],
    threshold=0.8,
    budget=1,
)
def test_edges_are_the_pairs_that_are_similar_enough(
    texts: list[str], threshold: float, budget: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = store_of(tmp_path_factory.mktemp("sets"), texts, [True] * len(texts))
    pairs = [(i, j) for i in range(len(texts)) for j in range(i + 1, len(texts))]
    found = verify_pairs(store, np.array(pairs), threshold, budget)
    sets = [oracle.shingles(text, 5) for text in texts]
    expected = [
        (i, j, len(sets[i] & sets[j]), len(sets[i] | sets[j]))
        for i, j in pairs
        if float(oracle.similarity(sets[i], sets[j])) >= threshold
    ]
    assert found.tolist() == expected


def test_only_candidates_are_written(tmp_path: Path) -> None:
    texts = ["a b c d e f", "g h i j k", "l m n o p q r", "s t u v w"]
    store = store_of(tmp_path, texts, [True, False, False, True])
    assert store.sizes(np.array([0, 3])).tolist() == [2, 1]
    assert len(store.load(np.array([0, 3]), np.array([2, 1]))) == 3
    assert len(verify_pairs(store, np.empty((0, 2), np.int64), 0.5, 1)) == 0


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    store = store_of(tmp_path, ["a b c d e f", "g h i j k", "l m n o p q r", "s t u v w"], [True] * 4)
    path = store.files.paths.sets("values", 1)
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    with pytest.raises(DataError, match=r"values\.npy"):
        verify_pairs(store, np.array([[0, 3]]), 0.5, 1 << 20)
