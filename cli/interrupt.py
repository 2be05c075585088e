"""Signals that end a command: an interrupt, a termination and a hang-up, each with its exit code."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from pile_tools.errors import ExitCode

SECONDS = 1.5
"""How long a command may take to end in its own way."""
_ENDINGS: Final = {
    "SIGINT": (ExitCode.INTERRUPTED, "interrupted"),
    "SIGTERM": (ExitCode.TERMINATED, "terminated"),
    "SIGHUP": (ExitCode.HUNG_UP, "hung up"),
}
# Windows has no SIGHUP, and this module must load there for the command to say what is not supported.
ENDINGS: Final = {signal.Signals[name]: end for name, end in _ENDINGS.items() if hasattr(signal, name)}
"""Exit code and message of each signal that ends a command."""


class Ended(KeyboardInterrupt):
    """A signal ends the command: whatever ends in order at Ctrl-C ends in order at each of them."""

    def __init__(self, number: int) -> None:
        self.exit_code, word = ENDINGS[signal.Signals(number)]
        self.message = f"pile-tools: {word}"
        super().__init__(word)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)


@contextmanager
def end_soon() -> Iterator[None]:
    """Raise Ended at a signal that ends a command, and end the process where that takes over ``SECONDS``.

    Python answers a signal between two of its own instructions, and a compiled kernel over much data can
    take longer than anyone waits. Files that were being written are left beside their place, as by a kill.

    A signal that this process was started to ignore, as by `nohup`, stays ignored, and one that the program
    around this command answers stays answered by it. What a command does itself with a signal (training
    writes a checkpoint) may take as long as it needs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: handler for number in ENDINGS if (handler := signal.getsignal(number)) in defaults}
    terminals = [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()

    def watch() -> None:
        while data := os.read(reader, 1):
            if signal.Signals(data[0]).name == "SIGHUP":
                for descriptor in terminals:
                    if not os.isatty(descriptor):  # it is gone, and a write to it would fail
                        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            if data[0] in before and signal.getsignal(data[0]) is _end and not over.wait(SECONDS):
                ended = Ended(data[0])
                sys.stderr.write(f"{ended.message}\n")
                sys.stderr.flush()
                os._exit(ended.exit_code)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        for number in before:
            signal.signal(number, _end)
        yield
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
        os.close(writer)
        thread.join()
        os.close(reader)
