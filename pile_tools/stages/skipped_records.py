"""The share of a corpus's records that are skipped, judged before anything is made of the others."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from pile_tools.errors import RecordsError

__all__ = ["ANY_SHARE", "SkippedRecords", "check_skipped"]

ANY_SHARE = Fraction(1)
"""The share that allows every record to be skipped."""


@dataclass(frozen=True, slots=True)
class SkippedRecords:
    """How many ``records`` of one shard there are and how many are ``skipped``; ``first`` says what is
    wrong with the first of those."""

    records: int
    skipped: int
    first: str


def check_skipped(shards: Iterable[SkippedRecords], max_skipped: Fraction) -> None:
    """Raise RecordsError where more than the share ``max_skipped`` of all records is skipped."""
    shards = list(shards)
    records, skipped = sum(shard.records for shard in shards), sum(shard.skipped for shard in shards)
    if skipped <= max_skipped * records:
        return
    first = next((shard.first for shard in shards if shard.first), "they are too large")
    share = _percent(Fraction(skipped, records))
    raise RecordsError(
        f"{skipped:,} of {records:,} records would be skipped, {share} and more than the "
        f"{_percent(max_skipped)} of `--max-skipped`: {first}; or go on with a larger `--max-skipped`"
    )


def _percent(share: Fraction) -> str:
    """Write a share as per cent, with the digits that tell it from none and from all."""
    value = float(share * 100)
    return f"{value:.3g}%" if value < 99.9 else f"{value:.6g}%"
