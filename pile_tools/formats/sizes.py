"""Numbers of bytes, and shares of a whole, as people write them."""

import re
from decimal import Decimal
from fractions import Fraction

from pile_tools.errors import ParameterError

__all__ = ["parse_bytes", "parse_share"]

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SHARE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)")
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


def parse_share(text: str) -> Fraction:
    """Return the share from 0 to 1 that "5%", "0.5 %", "0.05" or "1" stands for.

    Raises ParameterError for anything else: a number above 1 needs its per cent sign.
    """
    match = _SHARE.fullmatch(text.strip())
    share = Fraction(match[1]) / (100 if match[2] else 1) if match else Fraction(-1)
    if not 0 <= share <= 1:
        raise ParameterError(f"{text!r}: not a share from 0 to 1; write it like 5% or 0.05")
    return share
