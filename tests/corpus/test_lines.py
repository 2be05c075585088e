import pytest
from hypothesis import given
from hypothesis import strategies as st

from pile_tools.corpus.lines import shard_lines
from pile_tools.corpus.shards import Shard


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"\r")), max_size=12),
    end=st.booleans(),
    limit=st.none() | st.integers(1, 20),
)
def test_lines_are_cut_at_newlines_alone(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bool, limit: int | None
) -> None:
    content = b"\n".join(lines) + b"\n" * end
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes(content)
    pieces = list(shard_lines(Shard(path, path.name), limit))
    assert b"".join(piece.data for piece in pieces) == content
    rebuilt: list[bytes] = []
    for piece in pieces:
        if piece.start:
            rebuilt.append(b"")
        rebuilt[-1] += piece.data
    whole, last = content.split(b"\n")[:-1], content.split(b"\n")[-1]
    assert rebuilt == [line + b"\n" for line in whole] + [last] * (last != b"")
    assert all(piece.start and piece.end for piece in pieces) or limit is not None


@given(
    lengths=st.lists(st.integers(0, 30), max_size=12),
    ended=st.booleans(),
    chunk=st.integers(1, 40),
    limit=st.none() | st.integers(1, 40),
)
def test_lines_for_every_chunk_and_limit(
    lengths: list[int], ended: bool, chunk: int, limit: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = b"".join(bytes([65 + i]) * n + b"\n" for i, n in enumerate(lengths))
    content = content if ended else content.removesuffix(b"\n")
    path = tmp_path_factory.mktemp("lines") / "x.jsonl"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pile_tools.corpus.compression._CHUNK_BYTES", chunk)
        pieces = list(shard_lines(Shard(path, path.name), limit))
    # Every line in order, from a piece that starts it to one that ends it.
    lines: list[bytes] = []
    open_line = False
    for piece in pieces:
        assert piece.start != open_line
        lines = [*lines, piece.data] if piece.start else [*lines[:-1], lines[-1] + piece.data]
        open_line = not piece.end
        # Only what is too long to be held comes in pieces, each no longer than it must be.
        assert (piece.start and piece.end) or (limit is not None and len(piece.data) <= limit + chunk)
    assert not open_line
    assert lines == content.splitlines(keepends=True)
    assert all(piece.start and piece.end for piece in pieces) or max(map(len, lines)) > (limit or 0)
