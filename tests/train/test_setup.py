"""Settings of the machine that a resumed run keeps."""

from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.storage.manifest import Manifest
from pile_tools.train import train
from pile_tools.train.setup import machine_settings
from tests.train.small import (
    begin,
    differing,
    losses,
    resume,
)


def test_resume_computes_as_before_unless_told(home: Path) -> None:
    """What can change roundings is the checkpoint's, so that the bits are those of the uninterrupted run."""
    settings: dict[str, Any] = {"micro_batch_size": 5, "activation_checkpointing": True}
    begin(home, "kept-whole", **settings)
    begin(home, "kept", stop_at=4, **settings)
    resume(home, "kept", micro_batch_size=None)
    assert losses(home / "kept") == losses(home / "kept-whole")
    assert differing(home / "kept" / "step9", home / "kept-whole" / "step9") == []
    begin(home, "told", stop_at=4, **settings)
    resume(home, "told", micro_batch_size=3, activation_checkpointing=False)
    machine = Manifest.read(home / "told" / "step9").parameters["machine"]
    assert (machine["micro_batch_size"], machine["activation_checkpointing"]) == (3, False)
    # A fork is another run: it takes nothing of this.
    train(BatchViewer.open(home / "data"), home / "kept-fork", source=home / "kept" / "step4", device="cpu")
    machine = Manifest.read(home / "kept-fork" / "step9").parameters["machine"]
    assert (machine["micro_batch_size"], machine["activation_checkpointing"]) == (8, False)


@pytest.mark.parametrize(("given", "expected"), [(None, True), (False, False), (True, True)])
def test_a_compiled_run_is_resumed_compiled(given: bool | None, expected: bool) -> None:
    recorded = {"device": "cpu", "micro_batch_size": 2, "compile": True, "activation_checkpointing": False}
    asked = {"micro_batch_size": None, "compile": given, "activation_checkpointing": None}
    assert machine_settings(asked, recorded) == {
        "micro_batch_size": 2,
        "compile": expected,
        "activation_checkpointing": False,
    }
