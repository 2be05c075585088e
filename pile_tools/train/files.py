"""Which files a checkpoint has, and whether they are the ones that were written. Needs no torch."""

import re
from pathlib import Path
from typing import Any, Final

import orjson

from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats.manifest import MANIFEST_NAME, Manifest, sha256_file
from pile_tools.formats.names import check_name
from pile_tools.formats.recorded_files import listed_entry, open_recorded
from pile_tools.formats.store import LocalStore

__all__ = [
    "CONFIG_NAME",
    "DATA_NAME",
    "DIGESTS_NAME",
    "GENERATOR_NAME",
    "OPTIMIZER_NAME",
    "STAGE",
    "WEIGHTS_NAME",
    "check_files",
    "list_checkpoints",
    "prove_files",
    "read_layout",
]

CONFIG_NAME: Final = "config.json"
WEIGHTS_NAME: Final = "model.safetensors"
OPTIMIZER_NAME: Final = "optimizer.json"
GENERATOR_NAME: Final = "generator.safetensors"
DATA_NAME: Final = "data.json"
DIGESTS_NAME: Final = "digests.npy"
STAGE: Final = "train"
_NEEDED: Final = (CONFIG_NAME, WEIGHTS_NAME, OPTIMIZER_NAME, GENERATOR_NAME, DATA_NAME, DIGESTS_NAME)
_REMEDY: Final = "use another checkpoint, or restore the file"
_STEP: Final = re.compile(r"step(0|[1-9]\d*)")


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoints ``stepN`` of the run directory ``run``, by step."""
    found = [path for path in run.glob("step*") if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[4:]))


def read_layout(directory: Path) -> dict[str, Any]:
    """Return ``optimizer.json`` of a checkpoint; DataError where it names a file that is not in there."""
    path = directory / OPTIMIZER_NAME
    try:
        layout: dict[str, Any] = orjson.loads(path.read_bytes())
        names = list(layout["files"])
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged or missing ({error}); use another checkpoint") from None
    for name in names:
        check_name(name, str(path), nested=False)
    return layout


def check_files(directory: Path) -> Manifest:
    """Return the manifest of a checkpoint; DataError where a file is not the one that it lists."""
    if not (directory / DATA_NAME).is_file():
        raise PileToolsError(f"{directory}: no checkpoint of `pile-tools train` ({DATA_NAME} is not there)")
    manifest = Manifest.read(directory)
    if manifest.stage != STAGE:
        raise DataError(f"{directory / MANIFEST_NAME}: written by {manifest.stage!r}, not by training")
    for name in _NEEDED:
        listed_entry(manifest.outputs, name, str(directory / MANIFEST_NAME), _REMEDY)
    for entry in manifest.outputs:
        path = entry.path(directory)
        if not path.is_file() or path.stat().st_size != entry.bytes or sha256_file(path) != entry.sha256:
            raise DataError(f"{path}: damaged or missing: not the file that {MANIFEST_NAME} lists; {_REMEDY}")
    return manifest


def prove_files(directory: Path, *names: str) -> None:
    """Prove files of ``directory`` before they are read, if it is a checkpoint; DataError for another file.

    What was proved once is remembered, for all processes that read it.
    """
    manifest = Manifest.find(directory)
    if manifest is None or manifest.stage != STAGE:
        return
    store = LocalStore(directory)
    for name in names:
        entry = listed_entry(manifest.outputs, name, str(directory / MANIFEST_NAME), _REMEDY)
        open_recorded(store, entry, _REMEDY)
