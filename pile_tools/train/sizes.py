"""The sizes of Pythia, as data, and a smaller one for the demo.

Width, layers, heads and peak learning rate from Biderman et al. 2023; the vocabulary of 50,277 tokens is
padded to a multiple of 128 for each of the devices that the published run split the model over. "1m" is not
Pythia's: 1.3 million parameters for a tokenizer of 8,192 tokens.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["SIZES", "Size"]


@dataclass(frozen=True, slots=True)
class Size:
    """A named model: ``learning_rate`` is the peak of its schedule."""

    layers: int
    width: int
    heads: int
    learning_rate: float
    vocab: int = 50_304


SIZES: Final = {
    "1m": Size(6, 64, 2, 1e-3, 8_192),
    "14m": Size(6, 128, 4, 1e-3),
    "31m": Size(6, 256, 8, 1e-3),
    "70m": Size(6, 512, 8, 1e-3),
    "160m": Size(12, 768, 12, 6e-4),
    "410m": Size(24, 1024, 16, 3e-4),
    "1b": Size(16, 2048, 8, 2.5e-4),
    "1.4b": Size(24, 2048, 16, 2e-4),
    "2.8b": Size(32, 2560, 32, 1.6e-4),
    "6.9b": Size(32, 4096, 32, 1.2e-4, 50_432),
    "12b": Size(36, 5120, 40, 1.2e-4, 50_688),
}
