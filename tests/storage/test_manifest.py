import hashlib
from pathlib import Path

import pytest

from pile_tools.errors import DataError, PileToolsError, UnfinishedError
from pile_tools.storage.manifest import MANIFEST_NAME, FileEntry, Manifest, canonical_json, file_entry


def example() -> Manifest:
    return Manifest(
        stage="dedup",
        parameters={"threshold": "0.87", "bands": 16},
        inputs=[FileEntry("a.jsonl", 3, "00" * 32, 1)],
        outputs=[FileEntry("b.jsonl", 4, "11" * 32)],
        counts={"documents": 1},
        parents=["22" * 32],
        versions={"numpy": "2"},
    )


def test_round_trip_and_identity(tmp_path: Path) -> None:
    example().write(tmp_path)
    content = (tmp_path / MANIFEST_NAME).read_bytes()
    assert Manifest.read(tmp_path) == example()
    assert example().identity == hashlib.sha256(content).hexdigest()


def test_keys_are_sorted_and_floats_refused() -> None:
    assert (
        canonical_json({"b": 1, "a": [True, None]})
        == b'{\n  "a": [\n    true,\n    null\n  ],\n  "b": 1\n}\n'
    )
    with pytest.raises(TypeError, match=r"\$\.a\[1\]"):
        canonical_json({"a": [1, 0.5]})


def test_missing_manifest_is_unfinished(tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError, match="unfinished"):
        Manifest.read(tmp_path)
    with pytest.raises(PileToolsError, match="no such directory"):
        Manifest.read(tmp_path / "absent")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"bands": 16', b'"bands": 17 '),
        (b"manifest 1", b"manifest 9"),
        (b'"stage"', b'"stave"'),
        (
            b"{",
            b"[",
        ),
        (b'"dedup"', b'"dedup",'),
    ],
)
def test_damaged_manifest_is_an_error(tmp_path: Path, old: bytes, new: bytes) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(example().to_bytes().replace(old, new, 1))
    with pytest.raises(DataError, match=MANIFEST_NAME):
        Manifest.read(tmp_path)


def test_another_tools_manifest_is_none_of_ours() -> None:
    for content in (None, b"", b"{}", b'{"format": "other 1"}', b"not JSON"):
        assert Manifest.find_in(content, MANIFEST_NAME) is None
    assert Manifest.find_in(example().to_bytes(), MANIFEST_NAME) == example()
    with pytest.raises(DataError, match=MANIFEST_NAME):
        Manifest.find_in(example().to_bytes()[:-5], MANIFEST_NAME)


def test_file_entry_measures_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abc")
    assert file_entry(path, "y.bin", 7) == FileEntry("y.bin", 3, hashlib.sha256(b"abc").hexdigest(), 7)
