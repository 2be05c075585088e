"""The training core: GPT-NeoX models with Pythia's recipe, whose checkpoints prove what they have read.

Needs the extra ``train``; what checks checkpoints (``verify_checkpoint``, ``verify_run``) does not.
"""

import importlib
from typing import TYPE_CHECKING

from pile_tools.errors import needs_extra

if TYPE_CHECKING:
    from pile_tools.train.loop import Outcome, train
    from pile_tools.train.metrics import plot_loss, read_metrics
    from pile_tools.train.model import GPTNeoX
    from pile_tools.train.record import DataRecord
    from pile_tools.train.run import check_fork_batch_size, recorded_batch_size
    from pile_tools.train.schedule import CHECKPOINTS
    from pile_tools.train.setup import Start
    from pile_tools.train.sizes import SIZES
    from pile_tools.train.torch_data import IterableStream
    from pile_tools.train.verify import is_checkpoint, is_run, open_viewers, verify_checkpoint, verify_run
    from pile_tools.train.weights import load_model, save_model

__all__ = [
    "CHECKPOINTS",
    "SIZES",
    "DataRecord",
    "GPTNeoX",
    "IterableStream",
    "Outcome",
    "Start",
    "check_fork_batch_size",
    "is_checkpoint",
    "is_run",
    "load_model",
    "open_viewers",
    "plot_loss",
    "read_metrics",
    "recorded_batch_size",
    "save_model",
    "train",
    "verify_checkpoint",
    "verify_run",
]

_HOMES = {
    "loop": ("Outcome", "train"),
    "metrics": ("plot_loss", "read_metrics"),
    "model": ("GPTNeoX",),
    "record": ("DataRecord",),
    "run": ("check_fork_batch_size", "recorded_batch_size"),
    "schedule": ("CHECKPOINTS",),
    "setup": ("Start",),
    "sizes": ("SIZES",),
    "torch_data": ("IterableStream",),
    "verify": ("is_checkpoint", "is_run", "open_viewers", "verify_checkpoint", "verify_run"),
    "weights": ("load_model", "save_model"),
}


def __getattr__(name: str) -> object:
    # Resolved on first use, so that verifying a checkpoint needs no torch.
    for home, names in _HOMES.items():
        if name in names:
            with needs_extra("training"):
                return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
