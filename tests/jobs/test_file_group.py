"""Groups of files in a directory of another job, and rows that the same job goes on with."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pile_tools.errors import ChangedError, OccupiedError, PileToolsError
from pile_tools.jobs.file_group import FileGroup, UnfinishedRows
from pile_tools.storage.atomic import PARTIAL_SUFFIX
from pile_tools.storage.locks import LOCK_NAME
from pile_tools.storage.manifest import FileEntry, canonical_json, file_entry

JOB: dict[str, Any] = {"stream": {"recipe": "neox"}, "steps": "0:4"}


class Pair(FileGroup):
    """Two files, of which the second is the record."""

    def is_finished(self) -> bool:
        return (self.directory / "pair.json").exists()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_group_is_written_once_and_its_record_last(tmp_path: Path) -> None:
    (tmp_path / "document.bin").write_bytes(b"another job's")
    with Pair(tmp_path) as group:
        assert not group.finished
        assert names(tmp_path) == [LOCK_NAME, "document.bin"]
        (tmp_path / "first.npy").write_bytes(b"1")
        group.finish("pair.json", b"{}", [file_entry(tmp_path / "first.npy")])
    assert names(tmp_path) == ["document.bin", "first.npy", "pair.json"]
    assert (tmp_path / "pair.json").read_bytes() == b"{}"
    with Pair(tmp_path) as group:
        assert group.finished


def test_a_group_is_not_recorded_without_its_files(tmp_path: Path) -> None:
    for entry in (FileEntry("first.npy", 1, ""), FileEntry("second.npy", 2, "")):
        (tmp_path / "second.npy").write_bytes(b"2")
        with (
            pytest.raises(ChangedError, match=f"{entry.name}: changed or missing.*run again"),
            Pair(tmp_path) as group,
        ):
            group.finish("pair.json", b"{}", [entry])
        assert names(tmp_path) == ["second.npy"]


@pytest.mark.parametrize("name", ["../pair.json", "/pair.json", ""])
def test_a_record_is_in_the_directory(name: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(PileToolsError), Pair(tmp_path / "out") as group:
        group.finish(name, b"{}")
    assert names(tmp_path / "out") == []
    assert names(tmp_path) == ["out"]


def test_only_partial_files_of_killed_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / f"download{PARTIAL_SUFFIX}").write_bytes(b"another tool's")
    (tmp_path / f"first.npy.{0:016x}{PARTIAL_SUFFIX}").write_bytes(b"half")
    with Pair(tmp_path) as group:
        assert not group.finished
    assert names(tmp_path) == [f"download{PARTIAL_SUFFIX}"]


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(0, 3), min_size=1, max_size=4), cut=st.integers(0, 300))
def test_rows_are_gone_on_with_from_wherever_a_kill_left_them(
    counts: list[int], cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.partial"
    rows = b""
    for count in counts:
        with UnfinishedRows(path, JOB, 4) as unfinished:
            assert unfinished.rows == len(rows) // 4
            assert unfinished.read() == rows
            added = b"".join(b"%04d" % (unfinished.rows + index) for index in range(count))
            unfinished.append(added)
            rows += added
    header = canonical_json(JOB)
    assert path.read_bytes() == header + rows
    path.write_bytes(path.read_bytes()[:cut])
    with UnfinishedRows(path, JOB, 4) as unfinished:
        whole = max(0, min(cut, len(header) + len(rows)) - len(header)) // 4
        assert unfinished.rows == whole
        assert unfinished.read() == rows[: 4 * whole]
    assert path.read_bytes() == header + rows[: 4 * whole]


def test_rows_of_a_different_job_are_kept_and_its_difference_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.partial"
    with UnfinishedRows(path, JOB, 4) as unfinished:
        unfinished.append(b"0000")
    before = path.read_bytes()
    with pytest.raises(
        OccupiedError, match=r"half-finished by a different job: steps '0:4', now '0:8'; remove"
    ):
        UnfinishedRows(path, {**JOB, "steps": "0:8"}, 4)
    assert path.read_bytes() == before
    path.write_bytes(before[:-1])  # not one whole row: nothing is lost
    with UnfinishedRows(path, {**JOB, "steps": "0:8"}, 4) as unfinished:
        assert unfinished.rows == 0


@pytest.mark.parametrize("content", [b"something else", b'{"a": 1}', b"[]\n}\n", b"\x93NUMPY"])
def test_a_file_of_something_else_is_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.partial"
    path.write_bytes(content)
    with pytest.raises(OccupiedError, match=r"rows\.partial: no unfinished work of pile-tools; remove it"):
        UnfinishedRows(path, JOB, 4)
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "rows.partial").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        UnfinishedRows(tmp_path / "rows.partial", JOB, 4)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def fail_after(path: Path, rows: bytes) -> None:
    with UnfinishedRows(path, JOB, 4) as unfinished:
        unfinished.append(rows)
        raise ValueError("bad")


@pytest.mark.parametrize("rows", [b"", b"0000"])
def test_a_job_that_failed_before_its_first_row_leaves_no_file(tmp_path: Path, rows: bytes) -> None:
    with pytest.raises(ValueError, match="bad"):
        fail_after(tmp_path / "rows.partial", rows)
    assert (tmp_path / "rows.partial").exists() == bool(rows)
