"""Records of a shard: repairs of text, rows that are asked for, bad records, batches and counts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.corpus.records import RecordReader, repair_utf8, replace_surrogates
from pile_tools.corpus.shard import Shard
from pile_tools.errors import RecordsError

SHARD = Shard(Path("x.jsonl"), "x.jsonl")
SURROGATES = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=12)


@given(data=st.binary(max_size=20))
def test_repair_counts_what_it_puts_in(data: bytes) -> None:
    text, replaced = repair_utf8(data)
    ignored = data.decode("utf-8", "ignore")
    assert text == data.decode("utf-8", "replace")
    assert len(text) == len(ignored) + replaced


@given(SURROGATES)
def test_pairs_of_surrogates_are_joined_and_others_replaced(text: str) -> None:
    expected, rest = "", text
    while rest:
        high, low = ord(rest[0]), ord(rest[1]) if len(rest) > 1 else 0
        if 0xD800 <= high < 0xDC00 <= low < 0xE000:
            expected += chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)
            rest = rest[2:]
        else:
            expected += "\ufffd" if 0xD800 <= high < 0xE000 else rest[0]
            rest = rest[1:]
    assert replace_surrogates(text) == expected


@given(rows=st.lists(st.booleans(), max_size=8), first=st.integers(0, 10), count=st.integers(0, 10))
def test_rows_that_are_asked_for(rows: list[bool], first: int, count: int) -> None:
    wanted = RecordReader(SHARD, only_rows=np.array(rows, np.bool_)).wanted(first, count)
    assert wanted is not None
    asked = range(first, first + count)
    assert wanted.tolist() == [row < len(rows) and rows[row] for row in asked]
    single = RecordReader(SHARD, only_rows=4).wanted(first, count)
    assert single is not None
    assert single.tolist() == [row == 4 for row in asked]
    assert RecordReader(SHARD).wanted(first, count) is None


def test_a_bad_record_is_an_error_or_counted() -> None:
    with pytest.raises(RecordsError, match=r"^x\.jsonl:3: not JSON; mend .*--on-bad-record skip"):
        RecordReader(SHARD).bad_record(3, "not JSON")
    with pytest.raises(RecordsError, match=r"^x\.jsonl:3: no text; its keys are 'a'; or mend"):
        RecordReader(SHARD).bad_record(3, "no text", "its keys are 'a'")
    reader = RecordReader(SHARD, on_bad_record="skip")
    reader.bad_record(3, "no text", "its keys are 'a'")
    reader.bad_record(7, "not JSON")
    assert reader.skipped == [(3, "no text"), (7, "not JSON")]
    assert reader.first_skipped == "x.jsonl:3: no text; its keys are 'a'"
    assert reader.counts.skipped_records == 2


def test_names_are_listed_up_to_a_dozen() -> None:
    reader = RecordReader(SHARD)
    assert reader.name_text("keys", []).startswith("its keys are none: name")
    assert "'k11': name" in reader.name_text("keys", [f"k{i}" for i in range(12)])
    assert "'k11', …: name" in reader.name_text("keys", [f"k{i}" for i in range(13)])


def test_the_largest_record_that_is_read() -> None:
    reader = RecordReader(SHARD, max_record_bytes=10)
    assert (reader.is_oversized(10), reader.is_oversized(11)) == (False, True)
    assert not RecordReader(SHARD).is_oversized(1 << 40)


@given(st.lists(st.lists(st.tuples(st.text(max_size=5), st.none() | st.text(max_size=3))), max_size=4))
def test_batches_give_their_documents_back_and_are_counted(
    batches: list[list[tuple[str, str | None]]],
) -> None:
    reader = RecordReader(SHARD)
    for pairs in batches:
        texts, sources = [text for text, _ in pairs], [source for _, source in pairs]
        rows = [2 * index for index in range(len(pairs))]
        batch = reader.make_batch(rows, [text.encode() for text in texts], sources)
        assert (batch.rows.tolist(), batch.texts(), batch.sources) == (rows, texts, sources)
        assert (len(batch), batch.offsets[0], batch.offsets[-1]) == (len(pairs), 0, len(batch.text))
    assert reader.counts.documents == sum(map(len, batches))
    assert reader.counts.text_bytes == sum(len(text.encode()) for pairs in batches for text, _ in pairs)
