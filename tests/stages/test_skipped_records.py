"""The share of records that may be skipped, counted over all shards."""

from fractions import Fraction

import pytest

from pile_tools.errors import RecordsError
from pile_tools.stages.skipped_records import ANY_SHARE, SkippedRecords, check_skipped

SHARDS = [SkippedRecords(60, 0, ""), SkippedRecords(40, 3, "b.jsonl:2: no text")]


def test_shares_up_to_the_largest_are_passed_over() -> None:
    check_skipped(SHARDS, Fraction(3, 100))
    check_skipped([SkippedRecords(5, 5, "all")], ANY_SHARE)
    check_skipped([], Fraction(0))
    check_skipped([SkippedRecords(0, 0, "")], Fraction(0))


def test_one_more_names_the_first_and_the_remedy() -> None:
    with pytest.raises(RecordsError, match=r"3 of 100 records .*, 3% and more than the 2.9%") as caught:
        check_skipped(iter(SHARDS), Fraction(29, 1000))
    assert "b.jsonl:2: no text" in str(caught.value)
    assert "--max-skipped" in str(caught.value)


@pytest.mark.parametrize(
    ("records", "skipped", "share"), [(3, 1, "33.3%"), (10**6, 1, "0.0001%"), (10**6, 10**6 - 1, "99.9999%")]
)
def test_a_share_is_told_from_none_and_from_all(records: int, skipped: int, share: str) -> None:
    with pytest.raises(RecordsError, match=rf"{share} and more than the 0% .*: they are too large"):
        check_skipped([SkippedRecords(records, skipped, "")], Fraction(0))
