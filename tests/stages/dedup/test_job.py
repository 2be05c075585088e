"""The parameters of a deduplication: those at odds, too little memory, and what half-done work refuses."""

from pathlib import Path
from typing import Any

import pytest

from pile_tools.errors import ParameterError, PileToolsError
from pile_tools.stages.dedup import dedup as module
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from tests.stages.dedup.corpora import JOB, Stop, StopAt, record, write_zst


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": "1.1"}, "threshold"),
        ({"threshold": "nan"}, "threshold"),
        ({"threshold": "high"}, "threshold"),
        ({"ngram": 0}, "ngram"),
        ({"num_perm": 0}, "num_perm"),
        ({"preset": "datasketch", "verify": "exact"}, "verifies nothing"),
        ({"exact": True, "verify": "none"}, "whole texts"),
        ({"verify": "none", "num_perm": 10}, "datasketch refuses"),
    ],
)
def test_parameters_at_odds(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        resolve_job(**changes)


def test_too_little_memory(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="at least"):
        dedup([corpus], tmp_path / "out", resolve_job(), memory=1 << 20)
    # What cannot be known before the documents are linked can be resumed with more.
    monkeypatch.setattr("pile_tools.stages.dedup.decide.LINKED_BYTES", 1 << 30)
    with pytest.raises(ParameterError, match="to go on"):
        dedup([corpus], tmp_path / "out", resolve_job(), workers=1, memory=1 << 30)
    monkeypatch.undo()
    dedup([corpus], tmp_path / "out", resolve_job(), workers=1)


def test_another_job_or_changed_input_is_refused(corpus: Path, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        dedup([copy], tmp_path / "out", JOB, workers=1, progress=Stop(8))
    other = resolve_job(save_signatures=True, on_bad_record="skip", keep="last")
    with pytest.raises(PileToolsError, match=r"half-finished.*keep 'first', now 'last'"):
        dedup([copy], tmp_path / "out", other, workers=1)
    other = resolve_job(save_signatures=True, on_bad_record="error")
    with pytest.raises(PileToolsError, match=r"half-finished.*on_bad_record 'skip', now 'error'"):
        dedup([copy], tmp_path / "out", other, workers=1)
    with pytest.raises(KeyboardInterrupt):
        dedup([copy], tmp_path / "out", JOB, workers=1, progress=StopAt("group"))
    write_zst(copy / "1.jsonl.zst", [record("something else")])
    with pytest.raises(PileToolsError, match=r"half-finished.*1\.jsonl\.zst"):
        dedup([copy], tmp_path / "out", JOB, workers=1)


@pytest.mark.parametrize(("place", "name"), [("__version__", "pile-tools"), ("UNICODE_VERSION", "unicode")])
def test_another_version_is_refused(
    place: str, name: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        dedup([corpus], tmp_path / "out", JOB, workers=1, progress=Stop(8))
    monkeypatch.setattr(module, place, "0.0.1")
    with pytest.raises(PileToolsError, match=rf"half-finished.*versions: {name} .*now '0\.0\.1'"):
        dedup([corpus], tmp_path / "out", JOB, workers=1)
    monkeypatch.undo()
    dedup([corpus], tmp_path / "out", JOB, workers=1)
    monkeypatch.setattr(module, place, "0.0.1")
    finished = dedup([corpus], tmp_path / "out", JOB, workers=1)
    assert finished.versions[name] != "0.0.1"
