"""The device: bits that repeat, and how much of its peak a step reaches."""

import functools
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pile_tools.train.parallel import World

__all__ = ["DTYPES", "data_sheet", "describe", "deterministic", "peak_flops", "to_device"]

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Dense 16-bit matrix products per second by the makers' data sheets; the first name counts that is found
# among the words of the device's ("A40" is none of "RTX A4000").
_DATA_SHEETS: Final = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A40": 150e12,
}
# How long the peak is looked for where no data sheet tells it: a few products are too few on a busy machine.
_PEAK_SECONDS: Final = 0.5


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let PyTorch use only algorithms that give the same bits each time, and full float32 products."""
    if device.type == "cuda":
        # Read by cuBLAS when it is first used; without it its sums may depend on what ran beside them.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    memory: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
        torch.get_float32_matmul_precision(),
    )
    torch.use_deterministic_algorithms(True)
    # Filling new memory finds reads of uninitialised memory, which we have none of, at the cost of a pass.
    memory.fill_uninitialized_memory = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        memory.fill_uninitialized_memory = before[1]
        torch.set_float32_matmul_precision(before[2])


def to_device(rows: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return ``rows`` of tokens as int64 on ``device``; a GPU's queue of work is not waited for."""
    tensor = torch.from_numpy(rows.astype(np.int64))
    if device.type != "cuda":
        return tensor
    # From memory that may be swapped out, the copy would begin when all work before it is done.
    return tensor.pin_memory().to(device, non_blocking=True)


def data_sheet(name: str) -> tuple[float, str] | None:
    """Return the data sheet's peak of the GPU ``name`` in 16 bits, FLOP/s, and its origin, if it is known."""
    for known, peak in _DATA_SHEETS.items():
        if re.search(rf"\b{known}\b", name):
            return peak, f"data sheet of {known}"
    return None


def peak_flops(world: World, dtype: torch.dtype) -> tuple[float, str]:
    """Return the peak of all processes' devices, in floating-point operations a second, and its origin.

    It is the data sheet's for GPUs in 16 bits that are known here, else what a large matrix product reaches
    on this device, now.
    """
    if world.device.type == "cuda" and dtype != torch.float32:
        found = data_sheet(torch.cuda.get_device_name(world.device))
        if found is not None:
            return found[0] * world.size, found[1]
    # CPUs have no fast float16 product: a large one takes a minute.
    size = 8192 if world.device.type == "cuda" else 256 if dtype == torch.float16 else 1024
    own = _measured(world.device, dtype, size, torch.get_num_threads())
    total = sum(rate for [rate] in world.table([own]))
    return total, f"measured with a {size} × {size} matrix product"


@functools.lru_cache
def _measured(device: torch.device, dtype: torch.dtype, size: int, threads: int) -> float:
    """Return the FLOP/s of a product of two square matrices, once for a device, a dtype and ``threads``."""
    one = torch.ones(size, size, dtype=dtype, device=device)
    best, spent = float("inf"), 0.0
    while spent < _PEAK_SECONDS:
        start = time.perf_counter()
        (one @ one)[0, 0].item()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
    return 2 * size**3 / best


def describe(world: World, settings: Mapping[str, object]) -> dict[str, object]:
    """Return what may differ from resume to resume of one run and can change its roundings: the device, and
    ``settings``."""
    device = "cpu" if world.device.type == "cpu" else torch.cuda.get_device_name(world.device)
    return {
        "device": device,
        "processes": world.size,
        "threads": torch.get_num_threads(),
        **settings,
    }
