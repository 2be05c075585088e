"""The ledger of proofs: an entry counts for one state of one file, and only where it is whole and private."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pile_tools.storage.ledger import FileState, Ledger


@pytest.fixture
def state(tmp_path: Path) -> FileState:
    (tmp_path / "file").write_bytes(b"content")
    return FileState.of((tmp_path / "file").stat())


@pytest.fixture
def ledger(tmp_path: Path, state: FileState) -> Ledger:
    made = Ledger(tmp_path / "ledger")
    made.remember(state, "sha256", "abc")
    return made


def test_what_is_remembered_holds_for_this_state_kind_and_value_alone(
    ledger: Ledger, state: FileState
) -> None:
    assert ledger.holds(state, "sha256", "abc")
    assert not ledger.holds(state, "sha256", "abd")
    assert not ledger.holds(state, "order", "abc")
    for name in ("device", "inode", "size", "mtime_ns", "ctime_ns"):
        assert not ledger.holds(replace(state, **{name: getattr(state, name) + 1}), "sha256", "abc")
    ledger.remember(state, "sha256", "new")
    assert ledger.holds(state, "sha256", "new")
    assert not ledger.holds(state, "sha256", "abc")


@pytest.mark.parametrize("change", ["cut", "longer", "flipped", "writable", "link", "pipe", "folder"])
def test_damaged_and_foreign_entries_say_nothing(ledger: Ledger, state: FileState, change: str) -> None:
    directory = ledger.directory
    assert directory is not None
    (path,) = directory.iterdir()
    content = path.read_bytes()
    if change == "cut":
        path.write_bytes(content[:-1])
    elif change == "longer":
        path.write_bytes(content + b"\n")
    elif change == "flipped":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif change == "writable":
        path.chmod(0o666)
    elif change == "link":
        path.rename(directory.parent / "elsewhere")
        path.symlink_to(directory.parent / "elsewhere")
    elif change == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        directory.chmod(0o777)
    assert not ledger.holds(state, "sha256", "abc")


def test_nothing_is_written_where_others_may_write(ledger: Ledger, state: FileState) -> None:
    assert ledger.directory is not None
    ledger.directory.chmod(0o777)
    with pytest.raises(PermissionError):
        ledger.remember(state, "sha256", "abc")


def test_a_state_is_settled_when_a_later_write_gives_another(state: FileState) -> None:
    fine = replace(state, mtime_ns=10**18, ctime_ns=10**18 + 123_456)
    assert not fine.is_settled(fine.ctime_ns + 99_999_999)
    assert fine.is_settled(fine.ctime_ns + 100_000_000)
    coarse = replace(state, mtime_ns=10**18, ctime_ns=10**18)
    assert not coarse.is_settled(10**18 + 2_000_000_000)
    assert coarse.is_settled(10**18 + 2_500_000_000)


def test_it_is_in_the_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Ledger.of_user().directory == tmp_path / "pile-tools" / "ledger"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Ledger.of_user().directory == tmp_path / ".cache" / "pile-tools" / "ledger"


def test_without_a_cache_nothing_is_remembered(state: FileState) -> None:
    assert not Ledger(None).holds(state, "sha256", "abc")
    with pytest.raises(FileNotFoundError):
        Ledger(None).remember(state, "sha256", "abc")
