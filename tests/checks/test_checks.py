"""`verify`: everything right passes, and whatever is changed is found and named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pile_tools.checks.checks import CHECKS, Check, verify
from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.storage.manifest import Manifest


def test_all_is_right(whole: Path) -> None:
    findings = verify([whole / "kept", whole / "tokens"])
    assert [(finding.directory.name, finding.check) for finding in findings] == [
        ("kept", "files"),
        ("kept", "dedup"),
        *(("tokens", name) for name in ("files", "history", "tokens", "provenance", "tokenizer", "orders")),
    ]


def test_every_single_byte_counts(made: Path) -> None:
    listed = [entry.name for entry in Manifest.read(made / "tokens").outputs]
    assert len(listed) > 8
    for name in [*listed, *(path.name for path in (made / "tokens").glob("*.npy"))]:
        path = made / "tokens" / name
        content = path.read_bytes()
        for changed in (content[:-1], content + b"\0", content[:-1] + bytes([content[-1] ^ 1])):
            path.write_bytes(changed)
            with pytest.raises(DataError) as caught:
                verify([made / "kept", made / "tokens"])
            assert str(path) in str(caught.value)
        path.unlink()
        with pytest.raises(PileToolsError, match="missing") as caught_missing:
            verify([made / "tokens"])
        assert str(path) in str(caught_missing.value)
        path.write_bytes(content)
    verify([made / "tokens"])


def test_the_first_bad_file_is_named(made: Path) -> None:
    for name in ("document-00001-of-00003.bin", "document-00002-of-00003.bin", "tokenizer.json"):
        path = made / "tokens" / name
        assert path.exists(), sorted(path.parent.iterdir())
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=r"document-00001-of-00003\.bin: SHA-256"):
        verify([made / "tokens"])


def edit_manifest(directory: Path, part: str, **changes: Any) -> None:
    manifest = Manifest.read(directory)
    replace(manifest, **{part: {**getattr(manifest, part), **changes}}).write(directory)


def test_removed_rows(made: Path) -> None:
    edit_manifest(made / "kept", "counts", removed=5)
    with pytest.raises(DataError, match=r"dedup\.parquet: 1 rows, but 5 documents were removed"):
        verify([made / "kept"])


def test_nothing_to_verify(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no such directory"):
        verify([tmp_path / "none"])
    with pytest.raises(PileToolsError, match="nothing to verify"):
        verify([tmp_path])
    (tmp_path / ".unfinished").mkdir()
    with pytest.raises(UnfinishedError, match="unfinished"):
        verify([tmp_path])
    usual = Check("usual", lambda directory: True, lambda directory, progress: "whole")
    early = Check("early", lambda directory: True, lambda directory, progress: "so far", for_unfinished=True)
    assert [finding.check for finding in verify([tmp_path], checks=[usual, early])] == ["early"]
    with pytest.raises(UnfinishedError, match="unfinished"):
        verify([tmp_path], checks=[usual])


def test_a_manifest_of_another_tool_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "some web app"}')
    with pytest.raises(PileToolsError, match="nothing to verify"):
        verify([tmp_path])


def test_more_checks_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "x.toy").write_text("toy")
    toy = Check("toys", lambda d: (d / "x.toy").exists(), lambda d, progress: "1 toy")
    assert [finding.message for finding in verify([tmp_path], checks=[*CHECKS, toy])] == ["1 toy"]
