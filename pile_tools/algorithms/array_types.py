"""Types of the arrays that many modules share."""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Int64Array", "Tokens"]

Int64Array = npt.NDArray[np.int64]
Tokens = npt.NDArray[Any]
"""Token ids in the dataset's own dtype."""
