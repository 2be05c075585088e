"""``data.json`` and ``digests.npy``: what a checkpoint has read, in a form that can be proved."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from pile_tools.errors import DataError
from pile_tools.formats.digests_npy import DIGEST_BYTES
from pile_tools.formats.npy import read_array
from pile_tools.storage.manifest import canonical_json
from pile_tools.storage.records import fields, integer, items, one_of, optional, read_json, text
from pile_tools.storage.sources import HeldBytes
from pile_tools.train.checkpoint_files import DATA_NAME, DIGESTS_NAME

if TYPE_CHECKING:
    from pile_tools.viewer import BatchViewer

__all__ = ["SEGMENT", "DataRecord", "Segment", "Stream"]

_FORMAT: Final = "pile-tools training data 1"
_REMEDY: Final = "use another checkpoint"


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream as training read it: ``identity`` names datasets and order by content, ``datasets`` the former
    alone (one, or those of a blend); ``order`` is the order's name, ``seq_length`` counts tokens and
    ``batch_size`` sequences."""

    identity: str
    datasets: tuple[str, ...]
    order: str
    seq_length: int
    batch_size: int

    @classmethod
    def of(cls, viewer: "BatchViewer") -> Self:
        return cls(
            identity=viewer.identity,
            datasets=tuple(dataset.identity for dataset in viewer.stream.datasets),
            order=viewer.order.label,
            seq_length=viewer.seq_length,
            batch_size=viewer.batch_size,
        )

    def difference(self, other: "Stream") -> str | None:
        """Say how ``other`` differs from this stream, or None where both read the same."""
        found = [
            f"{name} {_short(old)}, now {_short(new)}"
            for name, old in asdict(self).items()
            if (new := asdict(other)[name]) != old and name not in {"identity", "order"}
        ]
        if self.identity != other.identity and self.datasets == other.datasets:
            found.append(
                f"order {self.order} ({_short(self.identity)}), now {other.order} ({_short(other.identity)})"
            )
        return "; ".join(found) or None


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return " and ".join(map(_short, value))
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 12 else str(value)


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps [first_step, last_step) of one stream. ``parent`` is the identity (manifest) of the checkpoint
    that the segment began from, where that belongs to another run."""

    stream: Stream
    first_step: int
    last_step: int
    parent: str | None = None

    @property
    def steps(self) -> str:
        """The range as messages and ``--steps`` write it."""
        return f"{self.first_step}:{self.last_step}"


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What a checkpoint has read: its ``lineage`` of segments, which join without gaps from step 0, and the
    digest of every step, XXH3-128 of the bytes of its batch, end to end in ``digests``."""

    lineage: tuple[Segment, ...]
    digests: bytes

    @property
    def steps(self) -> int:
        return self.lineage[-1].last_step

    @property
    def stream(self) -> Stream:
        return self.lineage[-1].stream

    @property
    def samples(self) -> int:
        return sum((s.last_step - s.first_step) * s.stream.batch_size for s in self.lineage)

    @property
    def tokens(self) -> int:
        """Tokens that had a label: seq_length for each sample."""
        return sum(
            (s.last_step - s.first_step) * s.stream.batch_size * s.stream.seq_length for s in self.lineage
        )

    @property
    def digest(self) -> str:
        """The running digest: SHA-256 over the digests of all steps consumed, in order."""
        return hashlib.sha256(self.digests).hexdigest()

    def step_digest(self, step: int) -> bytes:
        """Return the digest of ``step``."""
        return self.digests[step * DIGEST_BYTES : (step + 1) * DIGEST_BYTES]

    def consume(self, digest: bytes) -> "DataRecord":
        """Return the record after one more step of the last segment's stream."""
        *before, last = self.lineage
        grown = Segment(last.stream, last.first_step, last.last_step + 1, last.parent)
        return DataRecord((*before, grown), self.digests + digest)

    def fork(self, stream: Stream, parent: str) -> "DataRecord":
        """Return the record of a run that goes on from here on ``stream``."""
        lineage = [s for s in self.lineage if s.first_step < s.last_step]
        return DataRecord((*lineage, Segment(stream, self.steps, self.steps, parent)), self.digests)

    def to_files(self) -> dict[str, bytes]:
        """Return the contents of ``data.json`` and ``digests.npy`` (uint8 [steps, 16])."""
        value = {
            "format": _FORMAT,
            "stream": asdict(self.stream),
            "steps": self.steps,
            "samples": self.samples,
            "tokens": self.tokens,
            "digest": self.digest,
            "lineage": [asdict(segment) for segment in self.lineage],
        }
        array = io.BytesIO()
        np.save(
            array,
            np.frombuffer(self.digests, np.uint8).reshape(self.steps, DIGEST_BYTES),
            allow_pickle=False,
        )
        return {DATA_NAME: canonical_json(value), DIGESTS_NAME: array.getvalue()}

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read and check the two files in ``directory``; DataError for what does not fit together."""
        contents = {}
        for name in (DATA_NAME, DIGESTS_NAME):
            try:
                contents[name] = (directory / name).read_bytes()
            except FileNotFoundError:
                raise DataError(f"{directory / name}: missing, so {directory} is no checkpoint") from None
        path = directory / DATA_NAME
        value = read_json(contents[DATA_NAME], str(path), _DATA, "the record of a checkpoint", _REMEDY)
        lineage: tuple[Segment, ...] = value["lineage"]
        source = HeldBytes(str(directory / DIGESTS_NAME), contents[DIGESTS_NAME])
        record = cls(lineage, read_array(source, 2, ("uint8",)).whole().tobytes())
        is_whole = _joins(lineage) and len(record.digests) == record.steps * DIGEST_BYTES
        if not is_whole or record.to_files() != contents:
            raise DataError(
                f"{path}: edited by hand or damaged: it does not fit {DIGESTS_NAME} beside it; {_REMEDY}"
            )
        return record


_STREAM: Final = fields(
    {
        "identity": text(),
        "datasets": items(text(), 1),
        "order": text(),
        "seq_length": integer(1),
        "batch_size": integer(1),
    },
    Stream,
)
SEGMENT: Final = fields(
    {"stream": _STREAM, "first_step": integer(), "last_step": integer(), "parent": optional(text())},
    Segment,
)
"""The shape of a segment in a record."""
_DATA: Final = fields(
    {
        "format": one_of([_FORMAT]),
        "stream": _STREAM,
        "steps": integer(),
        "samples": integer(),
        "tokens": integer(),
        "digest": text(),
        "lineage": items(SEGMENT, 1),
    }
)


def _joins(lineage: Sequence[Segment]) -> bool:
    stops = [0, *(segment.last_step for segment in lineage)]
    starts = [segment.first_step for segment in lineage]
    return starts == stops[:-1] and stops == sorted(stops)
