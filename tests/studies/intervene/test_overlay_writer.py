"""The files of an overlay: its record, its manifest and where its parent is."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import (
    DataError,
    PileToolsError,
    UnfinishedError,
)
from pile_tools.studies.intervene.intervene import Intervention, intervene
from tests.studies.intervene.conftest import batches


def test_an_overlay_knows_its_parent_and_itself(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "a/tokens")
    place = tmp_path / "a/o"
    one = intervene(tmp_path / "a/tokens", place, Intervention(drop=["1"]), from_step=0)
    again = intervene(tmp_path / "a/tokens", place, Intervention(drop=["1"]), from_step=0)
    assert again == dataclasses.replace(one, existed=True)
    with pytest.raises(PileToolsError, match="finished by a different job"):
        intervene(tmp_path / "a/tokens", place, Intervention(drop=["2"]), from_step=0)
    content = batches(BatchViewer.open(place))
    (tmp_path / "a").rename(tmp_path / "b")
    place = tmp_path / "b/o"
    assert np.array_equal(batches(BatchViewer.open(place)), content)
    pieces = (place / "pieces.npy").read_bytes()
    (place / "pieces.npy").write_bytes(pieces[:-8] + b"\1" + b"\0" * 7)
    with pytest.raises(DataError, match="contradict each other"):
        BatchViewer.open(place)
    (place / "pieces.npy").write_bytes(pieces)
    record = (place / "overlay.json").read_text()
    (place / "overlay.json").write_text(record.replace('"batch_size": 4', '"batch_size":  4'))
    with pytest.raises(DataError, match="edited by hand or damaged"):
        BatchViewer.open(place)
    (place / "overlay.json").write_text(record)
    manifest = (place / "manifest.json").read_bytes()
    (place / "manifest.json").unlink()
    with pytest.raises(UnfinishedError, match="run `pile-tools intervene` again"):
        BatchViewer.open(place)
    (place / "manifest.json").write_bytes(manifest)
    shutil.rmtree(tmp_path / "b/tokens")
    with pytest.raises(PileToolsError, match="no such file"):
        BatchViewer.open(place)
    shutil.copytree(data, tmp_path / "b/tokens")
    with (tmp_path / "b/tokens/document.bin").open("r+b") as file:
        file.write(b"\7\0")
    with pytest.raises(DataError, match=r"another token dataset|a change of the stream"):
        BatchViewer.open(place)
