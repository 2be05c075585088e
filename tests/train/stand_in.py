"""A stream in memory with what training uses of ``BatchViewer``."""

import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash


class StandIn:
    """``samples`` random sequences of ``seq_length`` + 1 tokens below ``vocab``, made from ``seed``."""

    def __init__(
        self, samples: int = 96, batch_size: int = 6, seq_length: int = 16, vocab: int = 64, seed: int = 0
    ) -> None:
        self.seq_length, self.batch_size, self.samples = seq_length, batch_size, samples
        self.tokens = np.random.default_rng(seed).integers(0, vocab, (samples, seq_length + 1), np.uint16)
        # Each token repeats the one before half of the time, so that there is something to learn.
        for column in range(1, seq_length + 1):
            same = self.tokens[:, column] % 2 == 0
            self.tokens[same, column] = self.tokens[same, column - 1]
        self.dataset = SimpleNamespace(identity=hashlib.sha256(self.tokens.tobytes()).hexdigest())
        self.identity = hashlib.sha256(self.dataset.identity.encode()).hexdigest()
        self.order = SimpleNamespace(label=f"order{seed}", name=f"tokens/order{seed}")

    @property
    def steps(self) -> int:
        return self.samples // self.batch_size

    def batch(self, step: int) -> npt.NDArray[Any]:
        if not 0 <= step < self.steps:
            raise IndexError(step)
        return self.tokens[step * self.batch_size : (step + 1) * self.batch_size]

    def digest(self, step: int) -> str:
        return xxhash.xxh3_128_hexdigest(self.batch(step).tobytes())
