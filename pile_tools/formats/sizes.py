"""Numbers of bytes as people write them."""

import re
from decimal import Decimal

from pile_tools.errors import ParameterError

__all__ = ["parse_bytes"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([kmgt]?)i?b?", re.IGNORECASE)


def parse_bytes(text: str) -> int:
    """Return the bytes that "512", "30e9", "64M", "1.5 GiB" or "8gb" stand for; units are powers of 1024.

    Raises ParameterError for anything else, for nothing at all and for a part of a byte.
    """
    match = _SIZE.fullmatch(text.strip())
    size = Decimal(match[1]) * _UNITS[match[2].lower()] if match else Decimal(0)
    if size < 1 or (size % 1 and not (match and match[2])):
        raise ParameterError(f"{text!r}: not a number of bytes; write it like 512M, 8G or 30e9")
    return int(size)
