"""Fixtures of the tests of deduplication."""

from pathlib import Path

import pytest

from pile_tools.stages.dedup.dedup import dedup
from tests.stages.dedup.corpora import (
    JOB,
    all_files,
    planted,
    write_corpus,
)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [*planted(1, 40), "...", "...", "", "one two", "one two", "One, two!", "one three", "two one"]


@pytest.fixture(scope="session")
def corpus(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of near-duplicates. Do not write into it."""
    return write_corpus(tmp_path_factory.mktemp("dedup") / "corpus", texts)


@pytest.fixture(scope="session")
def expected(corpus: Path) -> dict[str, bytes]:
    """The files of a run of ``JOB`` over ``corpus`` that nothing stopped."""
    output = corpus.parent / "whole"  # beside it as those are that are compared: `inputs.json` is relative
    dedup([corpus], output, JOB, workers=1)
    return all_files(output)


Halves = tuple[Path, Path, list[str], list[str]]


@pytest.fixture(scope="session")
def halves(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Halves:
    directory = tmp_path_factory.mktemp("halves")
    one, two = texts[::2], texts[1::2]
    return write_corpus(directory / "one", one), write_corpus(directory / "two", two), one, two
