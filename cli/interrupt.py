"""An interrupt ends a command soon, whatever it is doing."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 1.5
"""How long a command may take to end in its own way."""


@contextmanager
def end_soon(exit_code: int, message: str) -> Iterator[None]:
    """End the process with ``exit_code`` where an interrupt has not ended the block after ``SECONDS``.

    Python answers a signal between two of its own instructions, and a compiled kernel over much data can
    take longer than anyone waits. Files that were being written are left beside their place, as by a kill.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()

    def watch() -> None:
        while data := os.read(reader, 1):
            if data[0] == signal.SIGINT and not over.wait(SECONDS):
                sys.stderr.write(f"{message}\n")
                sys.stderr.flush()
                os._exit(exit_code)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        over.set()
        os.close(writer)
        thread.join()
        os.close(reader)
