"""What a process that computes holds: one stream, one model."""

import functools
import multiprocessing
import re

import torch

from pile_tools.formats.machine import default_workers
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import CausalModel, open_model
from pile_tools.studies.stream_place import StreamPlace
from pile_tools.viewer import BatchViewer

__all__ = ["open_here"]


def open_here(
    place: StreamPlace, name: ModelName, device: str, dtype: str, workers: int
) -> tuple[BatchViewer, CausalModel]:
    """Return stream and model, opened by this process when it first asks for them.

    One of several ``workers`` takes its share of the cores, and of the GPUs where there are any.
    """
    return _stream(place), _model(name, device, dtype, workers)


@functools.lru_cache(maxsize=1)
def _stream(place: StreamPlace) -> BatchViewer:
    return place.open()


@functools.lru_cache(maxsize=1)
def _model(name: ModelName, device: str, dtype: str, workers: int) -> CausalModel:
    process = multiprocessing.current_process().name  # "MainProcess", or "SpawnProcess-N" from 1
    number = re.search(r"-(\d+)\Z", process)
    if number is not None:
        torch.set_num_threads(max(1, default_workers() // workers))
    return open_model(name, device=device, dtype=dtype, worker=int(number[1]) - 1 if number else 0)
