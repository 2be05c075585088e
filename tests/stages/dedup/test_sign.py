"""Signing of shards: what is signed is kept when a later record or shard cannot be read."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from pile_tools.errors import DataError
from pile_tools.stages.dedup import phases as dedup_run
from pile_tools.stages.dedup.dedup import dedup
from pile_tools.stages.dedup.job import resolve_job
from tests.stages.dedup.corpora import JOB, all_files, planted, record, write_zst


def test_after_a_bad_record_the_shards_that_were_signed_are_kept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "corpus"
    copy.mkdir()
    for path in corpus.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    good = [record(text) for text in planted(9, 10)]
    write_zst(copy / "3.jsonl.zst", [*good, b"{oops\n"])
    signed: list[str] = []
    sign_shard = dedup_run.sign_shard

    def sign(shard: Any, *arguments: Any) -> None:
        signed.append(shard.name)
        sign_shard(shard, *arguments)

    monkeypatch.setattr(dedup_run, "sign_shard", sign)
    job = resolve_job(save_signatures=True)
    for out in ("skipped", "mended"):
        with pytest.raises(DataError, match=r"3\.jsonl\.zst:.* mend the record, or pass over"):
            dedup([copy], tmp_path / out, job, workers=1)
    signed.clear()
    dedup([copy], tmp_path / "skipped", JOB, workers=1)
    assert signed == ["3.jsonl.zst"]
    dedup([copy], tmp_path / "whole-skipped", JOB, workers=1)
    assert all_files(tmp_path / "skipped") == all_files(tmp_path / "whole-skipped")
    signed.clear()
    # Mended, and another one that had been signed already is changed too.
    write_zst(copy / "3.jsonl.zst", good)
    write_zst(copy / "1.jsonl.zst", [*good, record("one more, that is unlike all others")])
    dedup([copy], tmp_path / "mended", job, workers=1)
    assert signed == ["1.jsonl.zst", "3.jsonl.zst"]
    dedup([copy], tmp_path / "whole-mended", job, workers=1)
    assert all_files(tmp_path / "mended") == all_files(tmp_path / "whole-mended")


def test_a_shard_that_cannot_be_read(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def refuse(self: Path, *arguments: Any, **more: Any) -> Any:
        if self.name == "1.jsonl.zst":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return opened(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(PermissionError, match=r"1\.jsonl\.zst"):
            dedup([corpus], tmp_path / "out", resolve_job(), workers=1)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert dedup([corpus], tmp_path / "out", resolve_job(), workers=1).counts["kept"] > 0
