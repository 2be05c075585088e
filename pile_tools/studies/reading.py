"""What a checkpoint has read, as far as it is known."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt

from pile_tools.errors import DataError, OutOfRangeError, ParameterError
from pile_tools.studies.model_name import ModelName
from pile_tools.train.files import DATA_NAME, DIGESTS_NAME, prove_files
from pile_tools.train.record import DataRecord, Segment, Stream, step_digest
from pile_tools.viewer import BatchViewer

__all__ = ["Reading", "check_lineage", "read_record"]


def read_record(name: ModelName) -> DataRecord | None:
    """Return what the checkpoint ``name`` has read, None where it is none of `pile-tools train`."""
    directory = Path(name.location)
    if not (directory / DATA_NAME).is_file():
        return None
    prove_files(directory, DATA_NAME, DIGESTS_NAME)
    return DataRecord.read(directory)


def check_lineage(viewer: BatchViewer, lineage: Sequence[Segment], digest: str) -> None:
    """Raise DataError unless a checkpoint of this lineage and running ``digest`` has read ``viewer`` only.

    What is recorded of the very same stream is believed. Where another is named (a fork was trained on an
    overlay of it, say), the bytes decide: all steps are read and hashed again.
    """
    own = Stream.of(viewer)
    read = [segment for segment in lineage if segment.first_step < segment.last_step]
    found = [(segment, segment.stream.difference(own)) for segment in read]
    others = [f"{segment.steps} ({difference})" for segment, difference in found if difference is not None]
    if not others:
        return
    steps = read[-1].last_step
    if viewer.first_step == 0 and steps <= viewer.steps:
        running = hashlib.sha256()
        for step in range(steps):
            running.update(step_digest(viewer.batch(step)))
        if running.hexdigest() == digest:
            return
    raise DataError(
        f"{viewer.order.name}: the checkpoint has read other bytes, in steps {' and '.join(others)}, so how "
        "often and when last it had read a sequence is not known from this stream; give one that has all "
        "steps as they were read, or leave out --plot of `loss` and --data of `memorize-report`"
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """``steps`` read; ``record`` what exactly, where the checkpoint is one of `pile-tools train`."""

    steps: int
    record: DataRecord | None

    @classmethod
    def of(cls, name: ModelName, steps: int | None = None) -> Self:
        """Return what the checkpoint ``name`` has read: by its ``data.json``, by ``steps``, or by its name.

        Raises ParameterError where none of them says, or where two contradict each other.
        """
        record = read_record(name)
        known = record.steps if record is not None else name.steps()
        if steps is not None and record is not None and steps != record.steps:
            raise ParameterError(
                f"{name}: its {DATA_NAME} records {record.steps} steps, not {steps}; leave "
                "--checkpoint-steps out"
            )
        known = known if steps is None else steps
        if known is None:
            raise ParameterError(
                f"{name}: neither {DATA_NAME} nor its name (stepN) says how many steps it has read; say it "
                "with --checkpoint-steps"
            )
        return cls(known, record)

    def check(self, viewer: BatchViewer) -> None:
        """Raise where the steps of ``viewer`` cannot be those that were read."""
        if self.record is not None and self.record.stream.batch_size != viewer.batch_size:
            raise ParameterError(
                f"the checkpoint has read batches of {self.record.stream.batch_size}, not of "
                f"{viewer.batch_size}: give --batch-size {self.record.stream.batch_size}"
            )
        if self.record is None and self.steps > viewer.steps:
            raise OutOfRangeError(
                f"{viewer.order.name}: the checkpoint has read {self.steps} steps, but the stream has "
                f"{viewer.steps} at batch size {viewer.batch_size}"
            )

    def has_seen(self, step: int, batch: npt.NDArray[Any]) -> bool | None:
        """Return whether ``batch``, which is that of ``step``, was read; None where other bytes were."""
        if step >= self.steps:
            return False
        if self.record is None or self.record.step_digest(step) == step_digest(batch):
            return True
        return None
