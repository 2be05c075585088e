"""Loss of a model on each token of one sequence of a stream."""

import os

import numpy as np
import numpy.typing as npt

from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import CausalModel, open_model
from pile_tools.viewer import BatchViewer

__all__ = ["token_losses"]


def token_losses(
    viewer: BatchViewer,
    model: str | os.PathLike[str] | CausalModel,
    step: int,
    row: int,
    *,
    device: str = "auto",
    dtype: str = "float32",
) -> npt.NDArray[np.float32]:
    """Return −log p in nats of each label of row ``row`` of ``step``, float32 [seq_length].

    Entry i is the loss of token i + 1 of the sequence, given tokens 0 to i. ``model`` is a directory, a Hub
    id with or without @revision, or a model that ``studies.models.open_model`` has opened, which saves
    loading it for each row. Raises OutOfRangeError for a row that the stream does not have, and DataError for
    a model whose vocabulary is not the stream's.
    """
    tokens = viewer.sequence(step, row)[None]
    if not isinstance(model, CausalModel):
        model = open_model(ModelName.parse(os.fspath(model)), device=device, dtype=dtype)
    where = f"{viewer.order.name}: step {step}"
    model.check(tokens[:, :-1], where)
    model.check(tokens[:, 1:], where)
    losses: npt.NDArray[np.float32] = model.token_losses(tokens)[0]
    return losses
