"""Files of a checkpoint: listed, whole and inside of it, known without torch."""

import shutil
from pathlib import Path

import pytest

from pile_tools.errors import DataError, PileToolsError
from pile_tools.storage.manifest import Manifest
from pile_tools.train.checkpoint_files import (
    OPTIMIZER_NAME,
    check_files,
    list_checkpoints,
    prove_files,
    read_layout,
)


@pytest.fixture
def checkpoint(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "whole" / "step6", tmp_path / "step6")
    return tmp_path / "step6"


def test_checkpoints_come_by_step(tmp_path: Path) -> None:
    for name in ("step10", "step9", "step0", "step01", "step", "stepx", "step2.partial", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step3").touch()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step0", "step9", "step10"]


def test_a_whole_checkpoint(checkpoint: Path) -> None:
    manifest = check_files(checkpoint)
    prove_files(checkpoint, *(entry.name for entry in manifest.outputs))
    assert set(read_layout(checkpoint)["files"]) <= {entry.name for entry in manifest.outputs}


def test_every_listed_file_counts(checkpoint: Path) -> None:
    for entry in Manifest.read(checkpoint).outputs:
        path = checkpoint / entry.name
        content = path.read_bytes()
        for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), None):
            path.unlink() if damaged is None else path.write_bytes(damaged)
            with pytest.raises(PileToolsError, match=entry.name.replace(".", r"\.")):
                check_files(checkpoint)
        path.write_bytes(content)
    check_files(checkpoint)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"files": 3}', b'{"files": ["../a"]}'])
def test_layouts_that_are_none(content: bytes, checkpoint: Path) -> None:
    (checkpoint / OPTIMIZER_NAME).write_bytes(content)
    with pytest.raises(DataError, match=r"optimizer\.json"):
        read_layout(checkpoint)


def test_other_directories(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="no checkpoint of `pile-tools train`"):
        check_files(tmp_path)
    prove_files(tmp_path, "model.safetensors")  # weights of others have no manifest to prove them
    Manifest("tokenize", {}, [], []).write(checkpoint)
    with pytest.raises(DataError, match="written by 'tokenize', not by training"):
        check_files(checkpoint)
