"""Proofs of files: made once, remembered for one state, and left out only where the user says so."""

import os
from pathlib import Path

import pytest

from pile_tools.errors import DataError
from pile_tools.storage import proofs as module
from pile_tools.storage.ledger import Ledger
from pile_tools.storage.proofs import Advance, Claim, Proofs, current_proofs, use_proofs
from pile_tools.storage.sources import MappedFile


class Checks:
    """Claims that count how often they are proved, of a file that was written long ago."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_FORGOTTEN_BYTES", 0)
        monkeypatch.setattr("pile_tools.storage.ledger._FINE_TICK_NS", 0)
        monkeypatch.setattr("pile_tools.storage.ledger._COARSE_TICK_NS", 0)
        self.path, self.made = directory / "file", 0
        self.path.write_bytes(b"content")
        self.proofs = Proofs(ledger=Ledger(directory / "ledger"))

    def claim(self, value: str = "right", expected: str = "right") -> Claim:
        def check(advance: Advance) -> None:
            self.made += 1
            advance(7)
            if value != expected:
                raise DataError(f"{self.path}: {value}, not {expected}")

        return Claim(MappedFile(self.path), "kind", value, check, 7)


@pytest.fixture
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checks:
    return Checks(tmp_path, monkeypatch)


def test_a_proof_is_made_once_for_one_state_of_a_file(checks: Checks) -> None:
    for _ in range(3):
        checks.proofs.prove("name", [checks.claim()])
    assert checks.made == 1
    again = Proofs(ledger=checks.proofs.ledger)  # as another process has them
    again.prove("name", [checks.claim()])
    assert checks.made == 1
    again.prove("name", [checks.claim("other", "other")])
    assert checks.made == 2
    status = checks.path.stat()
    os.utime(checks.path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    again.prove("name", [checks.claim("other", "other")])
    assert checks.made == 3


def test_what_is_not_so_is_never_remembered(checks: Checks) -> None:
    for made in (1, 2):
        with pytest.raises(DataError, match="wrong, not right"):
            checks.proofs.prove("name", [checks.claim("wrong")])
        assert checks.made == made


def test_a_file_that_changes_during_its_proof_is_proved_again(checks: Checks) -> None:
    claim = checks.claim()

    def check(advance: Advance) -> None:
        claim.check(advance)
        checks.path.write_bytes(b"changed")

    checks.proofs.prove("name", [Claim(claim.source, "kind", "right", check, 7)])
    checks.proofs.prove("name", [checks.claim()])
    assert checks.made == 2


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_the_first_claim_that_is_not_so_is_named(
    checks: Checks, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this thread, and in several."""
    monkeypatch.setattr(module, "_QUIET_BYTES", block)
    with pytest.raises(DataError, match="second, not right"):
        checks.proofs.prove("name", [checks.claim(), checks.claim("second"), checks.claim("third")])


def test_large_proofs_are_announced(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_QUIET_BYTES", 1)
    lines: list[str] = []
    Proofs(notify=lines.append, ledger=Ledger(None)).prove("name", [checks.claim()])
    assert lines[0] == "name: checking 1 file (7 bytes) before the first use"
    assert "ledger of proofs: cannot be written" in lines[1]


def test_trusted_files_are_not_looked_at_and_the_answer_says_so(checks: Checks) -> None:
    checks.proofs.believe()
    checks.proofs.prove("name", [checks.claim("wrong")])
    checks.proofs.prove("name", [checks.claim("wrong")])
    assert checks.made == 0
    (line,) = checks.proofs.unproved
    assert "--trust-files" in line


def test_proofs_are_in_force_in_their_block(checks: Checks) -> None:
    with use_proofs(checks.proofs):
        assert current_proofs() is checks.proofs
    assert current_proofs() is not checks.proofs
