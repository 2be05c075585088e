import errno
import os
from pathlib import Path

import pytest

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.jobs.workspace import InputFile, Workspace
from pile_tools.storage.atomic import PARTIAL_SUFFIX
from pile_tools.storage.manifest import Manifest, file_entry

PARAMETERS = {"threshold": "0.87"}


@pytest.fixture
def source(tmp_path: Path) -> InputFile:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n')
    return InputFile(path, "in.jsonl")


def workspace(out: Path, source: InputFile, **parameters: str) -> Workspace:
    return Workspace(out, stage="dedup", parameters={**PARAMETERS, **parameters}, inputs=[source])


def run(out: Path, source: InputFile) -> None:
    with workspace(out, source) as space:
        if space.finished is not None:
            return
        (out / "kept.jsonl").write_text("x")
        entry = file_entry(out / "kept.jsonl")
        space.finish(Manifest("dedup", PARAMETERS, space.input_entries, [entry]))


def test_a_job_is_done_once(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    run(out, source)
    assert sorted(path.name for path in out.iterdir()) == ["kept.jsonl", "manifest.json"]
    with workspace(out, source) as space:
        assert space.finished == Manifest.read(out)


def test_another_job_is_refused_naming_the_difference(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    run(out, source)
    with pytest.raises(PileToolsError, match=r"finished.*threshold '0.87', now '0.5'"):
        workspace(out, source, threshold="0.5").__enter__()
    source.path.write_text("changed")
    with pytest.raises(PileToolsError, match=r"in\.jsonl"):
        workspace(out, source).__enter__()


def test_changed_output_of_a_finished_job_is_noticed(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    run(out, source)
    (out / "kept.jsonl").unlink()
    with pytest.raises(PileToolsError, match=r"kept\.jsonl: changed or missing"):
        workspace(out, source).__enter__()


@pytest.mark.parametrize("content", [None, "longer"])
def test_output_that_is_gone_when_the_job_ends(
    tmp_path: Path, source: InputFile, content: str | None
) -> None:
    out = tmp_path / "out"
    with workspace(out, source) as space:
        (out / "kept.jsonl").write_text("x")
        entry = file_entry(out / "kept.jsonl")
        (out / "kept.jsonl").unlink()
        if content is not None:
            (out / "kept.jsonl").write_text(content)
        with pytest.raises(PileToolsError, match=r"kept\.jsonl: changed or missing since it was written"):
            space.finish(Manifest("dedup", PARAMETERS, space.input_entries, [entry]))
    assert not (out / "manifest.json").exists()


def test_half_finished_is_resumed_by_the_same_job_only(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    with workspace(out, source) as space:
        (space.work / "part").write_text("done")
    with pytest.raises(PileToolsError, match="half-finished by a different job"):
        workspace(out, source, threshold="0.9").__enter__()
    with workspace(out, source) as space:
        assert (space.work / "part").read_text() == "done"
    source.path.write_text("other bytes")
    with pytest.raises(PileToolsError, match=r"files: in\.jsonl"):
        workspace(out, source).__enter__()


def test_half_finished_is_resumed_by_the_same_versions_only(tmp_path: Path, source: InputFile) -> None:
    def begin(out: Path, versions: dict[str, str]) -> Workspace:
        return Workspace(out, stage="dedup", parameters=PARAMETERS, inputs=[source], versions=versions)

    with begin(tmp_path / "out", {"pile-tools": "1", "unicode": "15"}) as space:
        (space.work / "part").write_text("done")
    with pytest.raises(PileToolsError, match=r"half-finished.*: versions: unicode '15', now '16'"):
        begin(tmp_path / "out", {"pile-tools": "1", "unicode": "16"}).__enter__()
    with begin(tmp_path / "out", {"pile-tools": "1", "unicode": "15"}) as space:
        assert (space.work / "part").read_text() == "done"
    run(tmp_path / "done", source)
    with begin(tmp_path / "done", {"pile-tools": "2"}) as space:
        assert space.finished is not None


def test_input_of_equal_size_and_other_content_is_noticed(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    with workspace(out, source) as space:
        entries = space.input_entries
    os.utime(source.path, ns=(1, 1))
    with workspace(out, source) as space:  # touched, but the same bytes
        assert space.input_entries == entries
    source.path.write_text('{"text": "b"}\n')
    with pytest.raises(PileToolsError, match="sha256"):
        workspace(out, source).__enter__()


def test_job_that_failed_before_it_made_anything_leaves_nothing(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"

    def fail() -> None:
        with workspace(out, source):
            raise DataError("a bad record")

    with pytest.raises(DataError):
        fail()
    run(out, InputFile(source.path, "other.jsonl"))
    assert Manifest.read(out).inputs[0].name == "other.jsonl"


def test_partial_files_of_a_killed_run_are_removed(tmp_path: Path, source: InputFile) -> None:
    out = tmp_path / "out"
    with workspace(out, source):
        (out / f"kept.jsonl.77{PARTIAL_SUFFIX}").write_text("half")
    run(out, source)
    (out / ".finished").mkdir()
    run(out, source)
    assert sorted(path.name for path in out.iterdir()) == ["kept.jsonl", "manifest.json"]


def test_input_that_its_own_manifest_contradicts(tmp_path: Path, source: InputFile) -> None:
    listed = InputFile(source.path, source.name, sha256="00" * 32)
    with pytest.raises(DataError, match=r"changed since the manifest\.json"):
        workspace(tmp_path / "out", listed).__enter__()


def test_foreign_manifest_is_something_else(tmp_path: Path, source: InputFile) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text('{"name": "x"}')
    with pytest.raises(PileToolsError, match="already holds something else"):
        workspace(tmp_path / "out", source).__enter__()


def test_two_runs_at_once(tmp_path: Path, source: InputFile) -> None:
    with workspace(tmp_path / "out", source), pytest.raises(PileToolsError, match="another run"):
        workspace(tmp_path / "out", source).__enter__()


def test_foreign_directory_and_file(tmp_path: Path, source: InputFile) -> None:
    with pytest.raises(PileToolsError, match=r"already holds something else \(in\.jsonl\)"):
        workspace(tmp_path, source).__enter__()
    with pytest.raises(PileToolsError, match="not a directory"):
        workspace(source.path, source).__enter__()


def test_full_disk_is_resumable(tmp_path: Path, source: InputFile) -> None:
    with pytest.raises(UnfinishedError, match="resume"), workspace(tmp_path / "out", source):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


def test_input_that_changes_during_the_run(tmp_path: Path, source: InputFile) -> None:
    with workspace(tmp_path / "out", source) as space:
        source.path.write_text("longer than it was before")
        with pytest.raises(PileToolsError, match="changed during the run"):
            space.finish(Manifest("dedup", PARAMETERS, space.input_entries, []))
