"""Texts to token ids, with the `tokenizers` library."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pile_tools.formats.tokenizer import TokenizerFile

__all__ = ["ReferenceEncoder"]


class ReferenceEncoder:
    """The `tokenizers` library: no special tokens added, nothing truncated, nothing padded."""

    # An encoding holds some 100 bytes for each token: what is encoded at once bounds the memory.
    _BATCH_CHARACTERS = 1 << 20

    def __init__(self, tokenizer: TokenizerFile) -> None:
        self._tokenizer = tokenizer.load()

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return (ids, counts): uint32, the ids of all texts end to end; int64 [n], how many each has."""
        parts: list[NDArray[np.uint32]] = []
        counts = np.zeros(len(texts), np.int64)
        start = 0
        while start < len(texts):
            stop, held = start, 0
            while stop < len(texts) and (stop == start or held + len(texts[stop]) <= self._BATCH_CHARACTERS):
                held += len(texts[stop])
                stop += 1
            found = self._tokenizer.encode_batch_fast(list(texts[start:stop]), add_special_tokens=False)
            ids = [encoding.ids for encoding in found]
            counts[start:stop] = [len(part) for part in ids]
            total = int(counts[start:stop].sum())
            parts.append(np.fromiter(chain.from_iterable(ids), np.uint32, total))
            start = stop
        return np.concatenate([np.empty(0, np.uint32), *parts]), counts
