"""Files of a checkpoint that are not those that its manifest lists."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from pile_tools import DataError
from pile_tools.formats.manifest import Manifest, file_entry
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.reading import read_record
from pile_tools.train.files import STAGE, check_files
from pile_tools.train.record import DataRecord, Segment, Stream
from pile_tools.train.weights import load_model
from tests.train.small import write_config

NAMES = (
    "config.json",
    "model.safetensors",
    "optimizer.json",
    "generator.safetensors",
    "data.json",
    "digests.npy",
)


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of two steps, as far as its readers look."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    directory = write_config(tmp_path / "step2").parent
    stream = Stream("0" * 64, ("1" * 64,), "order", 8, 4)
    record = DataRecord((Segment(stream, 0, 2),), hashlib.sha256(b"digests").digest())
    contents = record.to_files() | {"optimizer.json": b"{}", "generator.safetensors": b"state"}
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    Manifest(STAGE, {}, [], [file_entry(directory / name) for name in NAMES]).write(directory)
    return directory


def test_weights_of_another_training(checkpoint: Path) -> None:
    load_model(checkpoint)
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.safetensors: SHA-256"):
        load_model(checkpoint)


def test_a_record_of_other_steps_read(checkpoint: Path) -> None:
    record = read_record(ModelName(str(checkpoint)))
    assert record is not None
    forged = dataclasses.replace(record, digests=b"x" * 32)
    for name, content in forged.to_files().items():
        (checkpoint / name).write_bytes(content)
    with pytest.raises(DataError, match="SHA-256"):
        read_record(ModelName(str(checkpoint)))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_the_manifest_does_not_list(checkpoint: Path, name: str) -> None:
    check_files(checkpoint)
    manifest = Manifest.read(checkpoint)
    outputs = [entry for entry in manifest.outputs if entry.name != name]
    dataclasses.replace(manifest, outputs=outputs).write(checkpoint)
    with pytest.raises(DataError, match=f"does not list {name}"):
        check_files(checkpoint)
    if name in NAMES[:2]:
        with pytest.raises(DataError, match=f"does not list {name}"):
            load_model(checkpoint)
