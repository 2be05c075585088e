"""A match as it is shown: its text, what is around it, and where it came from."""

import pytest

from pile_tools.errors import ParameterError
from tests.lookups.conftest import BYTES, END, MakeStream


def test_what_is_said_of_a_match(make_stream: MakeStream) -> None:
    viewer = make_stream(
        [[0, 1, 6], [6, 10, 11, 0], [3, 7, 6, END]], provenance=True, seq_length=4, num_samples=8
    )
    table = viewer.find("c", context=2)
    assert table.num_rows > 4
    for row in table.to_pylist():
        tokens = viewer.sequence(row["step"], row["row"]).tolist()
        text = [b"".join(BYTES[token] for token in part).decode(errors="replace") for part in (
            tokens[: row["position"]], tokens[row["position"] + 1 :])]  # fmt: skip
        assert (row["before"], row["match"], row["after"]) == (text[0][-2:], "c", text[1][:2])
        piece = next(
            piece
            for piece in viewer.trace(row["step"], row["row"]).to_pylist()
            if 0 <= row["position"] - piece["position"] < piece["n_tokens"]
        )
        assert row["document"] == piece["document"]
        assert row["offset"] == piece["offset"] + row["position"] - piece["position"]
        assert (row["shard"], row["shard_row"], row["source"]) == (
            piece["shard"], piece["shard_row"], piece["source"])  # fmt: skip


def test_without_a_tokenizer_tokens_are_found(make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]], tokenizer=False)
    row = viewer.find(tokens=[6], first=True).to_pylist()[0]
    assert (row["before"], row["match"], row["after"], row["shard"]) == (None, None, None, None)
    assert row["document"] is not None
    with pytest.raises(ParameterError, match="give one with --tokenizer"):
        viewer.find("a")
