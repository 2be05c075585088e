"""Sources behind URLs: byte ranges, coalesced and concurrent, each exact or an error."""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError
from pile_tools.storage.sources import Int64Array

__all__ = ["RemoteSource", "coalesce"]


# Two ranges this close are fetched as one: less than what a round trip costs in bytes.
GAP: Final = 32 << 10
# No request is longer, so that the parts of a long range come at the same time.
MOST: Final = 8 << 20
CONCURRENT: Final = 8


def coalesce(starts: Int64Array, lengths: Int64Array, gap: int = GAP) -> list[tuple[int, int]]:
    """Return spans [start, stop) that cover all ranges; ranges up to ``gap`` bytes apart share one."""
    spans: list[tuple[int, int]] = []
    order = np.argsort(starts, kind="stable")
    for start, length in zip(starts[order].tolist(), lengths[order].tolist(), strict=True):
        if length == 0:
            continue
        if spans and start <= spans[-1][1] + gap:
            spans[-1] = (spans[-1][0], max(spans[-1][1], start + length))
        else:
            spans.append((start, start + length))
    return spans


class RemoteSource(ABC):
    """Bytes behind a URL, of which only ranges are read.

    ``version`` names the bytes: the same for as long as they are the same, and different once they
    change (a commit, an ETag). None where the server tells nothing that would: a change to other bytes of
    the same length is then not noticed, and nothing of them may be kept for another time.
    """

    name: str
    size: int
    version: str | None

    @abstractmethod
    def fetch(self, start: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``start``, or raise."""

    def read_many(self, starts: Int64Array, lengths: Int64Array) -> npt.NDArray[np.uint8]:
        """Return the bytes of all ranges, end to end."""
        outside = np.flatnonzero((starts < 0) | (lengths < 0) | (starts + lengths > self.size))
        if len(outside):
            start = int(starts[outside[0]])
            stop = start + int(lengths[outside[0]])
            raise DataError(f"{self.name}: bytes {start} to {stop} are asked for, but it has {self.size}")
        spans = coalesce(starts, lengths)
        content = self._fetch_spans(spans)
        out = np.empty(int(lengths.sum()), np.uint8)
        first_of_span = np.array([start for start, _ in spans], np.int64)
        places = np.searchsorted(first_of_span, starts, side="right") - 1
        target = 0
        for place, start, length in zip(places.tolist(), starts.tolist(), lengths.tolist(), strict=True):
            if length:
                begin = start - spans[place][0]
                out[target : target + length] = content[place][begin : begin + length]
                target += length
        return out

    def _fetch_spans(self, spans: list[tuple[int, int]]) -> list[npt.NDArray[np.uint8]]:
        """Fetch all spans, in requests of up to ``MOST`` bytes, several at a time."""
        requests = [
            (number, start, min(start + MOST, stop))
            for number, (first, stop) in enumerate(spans)
            for start in range(first, stop, MOST)
        ]
        content = [np.empty(stop - start, np.uint8) for start, stop in spans]

        def one(request: tuple[int, int, int]) -> None:
            number, start, stop = request
            place = start - spans[number][0]
            part = np.frombuffer(self.fetch(start, stop - start), np.uint8)
            content[number][place : place + len(part)] = part

        if len(requests) == 1:
            one(requests[0])
        elif requests:
            with ThreadPoolExecutor(min(CONCURRENT, len(requests))) as pool:
                futures = [pool.submit(one, request) for request in requests]
                try:
                    for future in futures:
                        future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        return content
