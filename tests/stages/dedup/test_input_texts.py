"""Texts of the inputs of a deduplication: read where they are now, and only where they are the same."""

import shutil
from pathlib import Path

import pytest

from pile_tools.errors import DataError, OutOfRangeError, ParameterError, TextGoneError
from pile_tools.formats.parents import History
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.input_texts import InputTexts
from pile_tools.stages.dedup.job import resolve_job
from pile_tools.storage.store import LocalStore
from tests.stages.dedup.corpora import in_order, record, write_zst


@pytest.fixture
def made(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus and its deduplication, ``in`` and ``out``."""
    shutil.copytree(corpus, tmp_path / "in")
    dedup([tmp_path / "in"], tmp_path / "out", resolve_job(), workers=1)
    return tmp_path


def texts_of(made: Path, *corpus: Path) -> InputTexts:
    return InputTexts(made / "out", History.open(LocalStore(made / "out")), corpus)


def test_texts_are_those_of_the_corpus(made: Path, texts: list[str]) -> None:
    reader = texts_of(made)
    for shard, row, text in in_order(texts)[::7]:
        assert reader.text(shard, row) == text
    with pytest.raises(ParameterError, match=r"no input shard called 'x'"):
        reader.text("x", 0)
    with pytest.raises(OutOfRangeError, match="no document in row 1000000"):
        reader.text("0.jsonl.zst", 10**6)
    with pytest.raises(OutOfRangeError, match="numbered from 0"):
        reader.text("0.jsonl.zst", -1)


def test_a_corpus_that_moved_is_named(made: Path, texts: list[str]) -> None:
    (made / "in").rename(made / "elsewhere")
    with pytest.raises(TextGoneError, match="--corpus"):
        texts_of(made).text("0.jsonl.zst", 0)
    assert texts_of(made, made / "elsewhere").text("0.jsonl.zst", 0) == texts[0]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_corpus_that_changed_is_refused(made: Path, same_size: bool) -> None:
    path = made / "in" / "0.jsonl.zst"
    content = path.read_bytes()
    if same_size:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        write_zst(path, [record("another text")])
    with pytest.raises(DataError, match=r"0\.jsonl\.zst: .*--corpus"):
        texts_of(made).text("0.jsonl.zst", 0)
