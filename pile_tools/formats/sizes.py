"""Numbers of bytes as people write them."""

import re

from pile_tools.errors import ParameterError

__all__ = ["parse_bytes"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Return the bytes that "512", "64M", "1.5 GiB" or "8gb" stand for; units are powers of 1024.

    Raises ParameterError for anything else and for nothing at all.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 1:
        raise ParameterError(f"{text!r}: not a number of bytes; write it like 512M or 8G")
    return size
