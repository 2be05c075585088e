"""Where a stream is, in a form that goes to another process."""

from dataclasses import dataclass, field

from pile_tools.errors import OutOfRangeError, ParameterError
from pile_tools.formats.proofs import current_proofs
from pile_tools.viewer import BatchViewer

__all__ = ["StreamPlace", "check_steps"]


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """What ``BatchViewer.open`` is given; ``trust_files`` by default as it is where the stream is named."""

    data: str
    order: str | None = None
    batch_size: int | None = None
    tokenizer: str | None = None
    trust_files: bool = field(default_factory=lambda: current_proofs().trust)

    def open(self) -> BatchViewer:
        return BatchViewer.open(
            self.data,
            order=self.order,
            batch_size=self.batch_size,
            tokenizer=self.tokenizer,
            trust_files=self.trust_files,
        )


def check_steps(viewer: BatchViewer, start: int, stop: int) -> None:
    """Raise ParameterError for an empty range, OutOfRangeError for one that leaves the stream."""
    if start >= stop:
        raise ParameterError(f"steps {start}:{stop}: no step; a range a:b holds steps a to b − 1")
    if start < 0 or stop > viewer.steps:
        raise OutOfRangeError(
            f"steps {start}:{stop}: {viewer.order.name} has steps 0:{viewer.steps} at batch size "
            f"{viewer.batch_size}"
        )
