"""A blend: several components, and for each sample which of them it is from."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pile_tools.errors import DataError
from pile_tools.formats.sources import ArrayView
from pile_tools.viewer.components import Component, Tokens
from pile_tools.viewer.order_proof import ReadSamples

__all__ = ["Blend"]

_BLOCK: Final = 1 << 20


class Blend:
    """Sample i of the stream is sample ``sample_index[i]`` of component ``dataset_index[i]``.

    ``prove_arrays`` proves the two arrays, which is done before they are first read.
    """

    def __init__(
        self,
        name: str,
        components: Sequence[Component],
        dataset_index: ArrayView,
        sample_index: ArrayView,
        prove_arrays: Callable[[], None],
    ) -> None:
        self.name = name
        self.components = components
        self._dataset_index = dataset_index
        self._sample_index = sample_index
        if len(dataset_index) != len(sample_index):
            raise DataError(
                f"{name}: {len(dataset_index)} samples in one of its arrays and {len(sample_index)} in the "
                "other; make the blend again"
            )
        self._prove_arrays = prove_arrays
        self._is_proved = False
        self._read: dict[int, ReadSamples] = {}
        self.dtype = np.result_type(*(component.dataset.dtype for component in components))

    def __len__(self) -> int:
        return len(self._dataset_index)

    def prove(self) -> None:
        """Prove the arrays before their first use; DataError for one that is wrong."""
        if not self._is_proved:
            self._prove_arrays()
            self._is_proved = True

    def arrays(self, samples: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return component and number in its stream of the first ``samples`` samples."""
        self.prove()
        return self._dataset_index.take([0], [samples]), self._sample_index.take([0], [samples])

    def parts(self, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return component and number in its stream of the samples at ``positions`` [n]."""
        self.prove()
        ones = np.ones_like(positions)
        which = self._dataset_index.take(positions, ones).astype(np.int64)
        numbers: npt.NDArray[np.int64] = self._sample_index.take(positions, ones)
        self.check(positions, which, numbers)
        if not self._dataset_index.is_local:
            self._check_read(positions, which, numbers)
        return which, numbers

    def _check_read(
        self,
        positions: npt.NDArray[np.int64],
        which: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        """Raise DataError where arrays that are not proved whole show a sample that was read before."""
        for index, component in enumerate(self.components):
            rows = np.flatnonzero(which == index)
            if len(rows) and index not in self._read:
                size = max(len(self), component.n_samples)
                self._read[index] = ReadSamples(self.name, size, f"dataset_sample_index of dataset {index}")
            if len(rows):
                self._read[index].add(positions[rows], numbers[rows])

    def check_all(self, advance: Callable[[int], None]) -> None:
        """Check all samples, and call ``advance`` with the bytes of each block that is done."""
        for start in range(0, len(self), _BLOCK):
            positions = np.arange(start, min(start + _BLOCK, len(self)))
            which = self._dataset_index.take([start], [len(positions)]).astype(np.int64)
            numbers = self._sample_index.take([start], [len(positions)])
            self.check(positions, which, numbers)
            advance(numbers.nbytes)

    def check(
        self,
        positions: npt.NDArray[np.int64],
        which: npt.NDArray[np.int64],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        """Raise DataError where ``positions`` show what is no sample ``numbers`` of component ``which``."""
        wrong = np.flatnonzero((which < 0) | (which >= len(self.components)))
        if len(wrong):
            raise DataError(f"{self.name}: sample {positions[wrong[0]]} is of dataset {which[wrong[0]]}")
        most = np.array([component.n_samples for component in self.components])[which]
        wrong = np.flatnonzero((numbers < 0) | (numbers >= most))
        if len(wrong):
            raise DataError(
                f"{self.name}: sample {positions[wrong[0]]} is number {numbers[wrong[0]]} of "
                f"{most[wrong[0]]} samples of its dataset; the blend is damaged or of other orders"
            )

    def tokens(self, positions: npt.NDArray[np.int64]) -> Tokens:
        """Return the tokens of the samples at ``positions``, [n, seq_length + 1]."""
        which, numbers = self.parts(positions)
        out: npt.NDArray[Any] = np.empty((len(positions), self.components[0].seq_length + 1), self.dtype)
        for place, component in enumerate(self.components):
            rows = np.flatnonzero(which == place)
            if len(rows):
                out[rows] = component.tokens(numbers[rows])
        return out
