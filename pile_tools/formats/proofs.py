"""Proofs of files before their first use: against the SHA-256 that a record lists, or by their structure.

A ``Claim`` is what is to be proved of one file. ``Proofs.prove`` makes those that the ledger does not hold,
and remembers them there, so that the next process does not make them again. A store takes the ``Proofs`` that
are in force where it is opened (``current_proofs``), and its readers prove what they read with them.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from pile_tools.formats.ledger import FileState, Ledger

if TYPE_CHECKING:
    from pile_tools.formats.sources import Source

__all__ = ["Advance", "Claim", "Proofs", "current_proofs", "use_proofs"]

Advance = Callable[[int], None]
# Proofs of so many bytes are made without a word: some 10 ms.
_QUIET_BYTES: Final = 8 << 20
# A file up to this long is proved faster than its entry is written.
_FORGOTTEN_BYTES: Final = 1 << 20
_BAR_AFTER_SECONDS: Final = 1.0
_TRUSTED: Final = "files are believed as they are, and not checked (--trust-files, trust_files=True)"


@dataclass(frozen=True, slots=True)
class Claim:
    """That the ``kind`` of the file ``source`` is ``value``, which ``check`` proves or raises DataError.

    ``check`` is given a function to call with the bytes that it has looked at, ``n_bytes`` in all. ``others``
    are the files that ``value`` depends on, too.
    """

    source: "Source"
    kind: str
    value: str
    check: Callable[[Advance], None]
    n_bytes: int
    others: "tuple[Source, ...]" = ()

    def states(self) -> tuple[FileState, ...] | None:
        """Return the states of the files as they are now; None where one is not the file that was opened."""
        states = [_state(source) for source in (self.source, *self.others)]
        return None if None in states else tuple(state for state in states if state is not None)

    def statement(self, states: tuple[FileState, ...]) -> tuple[FileState, str, str]:
        """Return what the ledger is to hold."""
        others = "".join(
            f"; {state.device}:{state.inode}:{state.size}:{state.mtime_ns}:{state.ctime_ns}"
            for state in states[1:]
        )
        return states[0], self.kind, self.value + others


@runtime_checkable
class _LocalFile(Protocol):
    """A source that is a file of this machine."""

    path: Path
    state: FileState


def _state(source: "Source") -> FileState | None:
    if not isinstance(source, _LocalFile):
        return None
    try:
        state = FileState.of(os.stat(source.path))
    except OSError:
        return None
    opened = source.state
    return state if (state.device, state.inode) == (opened.device, opened.inode) else None


def _say_nothing(line: str) -> None:
    """Tell nobody."""


def _no_progress(label: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(eq=False)
class Proofs:
    """How files are proved, and what was left unproved.

    ``trust``: files are believed as they are. ``notify`` is given lines for the user, such as that something
    large is proved now; ``unproved`` are lines that belong to an answer: what it does not rest on a proof of.
    ``progress`` is called from one second on.
    """

    trust: bool = False
    notify: Callable[[str], None] = _say_nothing
    progress: Callable[[str, int, int], None] = _no_progress
    ledger: Ledger = field(default_factory=Ledger.of_user)
    unproved: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _is_unwritable: bool = False

    def believe(self) -> None:
        """Believe files as they are from now on, which every answer says."""
        self.trust = True
        self.leave(_TRUSTED)

    def leave(self, line: str) -> None:
        """Note, once, that something was not proved."""
        with self._lock:
            if line not in self.unproved:
                self.unproved.append(line)

    def prove(self, name: str, claims: Sequence[Claim]) -> None:
        """Prove ``claims`` of the files of ``name``, those apart that were proved before.

        Raises the DataError of the first claim, in their order, that is not so.
        """
        if not claims:
            return
        if self.trust:
            self.leave(_TRUSTED)
            return
        with self._lock:
            todo = [claim for claim in claims if not self._is_proved(claim)]
            total = sum(claim.n_bytes for claim in todo)
            if total > _QUIET_BYTES:
                files = len({claim.source.name for claim in todo})
                size = sum({claim.source.name: claim.source.size for claim in todo}.values())
                self.notify(
                    f"{name}: checking {files} file{'s' * (files > 1)} ({size:,} bytes) before the first use"
                )
            self._make(name, todo, total)

    def _is_proved(self, claim: Claim) -> bool:
        if claim.n_bytes <= _FORGOTTEN_BYTES:
            return False
        states = claim.states()
        return states is not None and self.ledger.holds(*claim.statement(states))

    def _make(self, name: str, claims: Sequence[Claim], total: int) -> None:
        stop = threading.Event()
        advance = self._advance(name, total, stop)

        def make(claim: Claim) -> None:
            begin, before = time.time_ns(), claim.states()
            claim.check(advance)
            if claim.n_bytes <= _FORGOTTEN_BYTES or before is None or before != claim.states():
                return
            if all(state.is_settled(begin) for state in before):
                self._remember(*claim.statement(before))

        if total <= _QUIET_BYTES:
            for claim in claims:
                make(claim)
            return
        with ThreadPoolExecutor(min(len(claims), os.cpu_count() or 1)) as pool:
            futures = [pool.submit(make, claim) for claim in claims]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _advance(self, name: str, total: int, stop: threading.Event) -> Advance:
        """Return a function that threads call with bytes that are done, and that shows them after a while.

        It ends the thread once ``stop`` is set.
        """
        lock, begin, done, label = threading.Lock(), time.monotonic(), 0, f"check {os.path.basename(name)}"

        def advance(n_bytes: int) -> None:
            nonlocal done
            if stop.is_set():
                raise CancelledError
            with lock:
                done += n_bytes
                if time.monotonic() - begin >= _BAR_AFTER_SECONDS:
                    self.progress(label, min(done, total), total)

        return advance

    def _remember(self, state: FileState, kind: str, value: str) -> None:
        try:
            self.ledger.remember(state, kind, value)
        except OSError as error:
            if not self._is_unwritable:
                self._is_unwritable = True
                where = self.ledger.directory or "ledger of proofs"
                reason = error.strerror or error
                self.notify(f"{where}: cannot be written ({reason}), so the next command checks again")


_current: ContextVar[Proofs | None] = ContextVar("proofs", default=None)


def current_proofs() -> Proofs:
    """Return the proofs in force: those of ``use_proofs``, else silent ones of their own."""
    return _current.get() or Proofs()


@contextmanager
def use_proofs(proofs: Proofs) -> Iterator[Proofs]:
    """Have stores that are opened in the block prove their files with ``proofs``."""
    token = _current.set(proofs)
    try:
        yield proofs
    finally:
        _current.reset(token)
