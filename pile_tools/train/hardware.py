"""The device: bits that repeat, and how much of its peak a step reaches."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from pile_tools.train.parallel import World

__all__ = ["DTYPES", "describe", "deterministic", "peak_flops"]

DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Dense 16-bit matrix products per second by the makers' data sheets; the first name that fits counts.
_DATA_SHEETS: Final = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "GH200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A40": 150e12,
}


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


def peak_flops(world: World, dtype: torch.dtype) -> tuple[float, str]:
    """Return the peak of all processes' devices, in floating-point operations a second, and its origin.

    It is the data sheet's for GPUs in 16 bits that are known here, else what a large matrix product reaches
    on this device, now.
    """
    if world.device.type == "cuda" and dtype != torch.float32:
        name = torch.cuda.get_device_name(world.device)
        for known, peak in _DATA_SHEETS.items():
            if known in name:
                return peak * world.size, f"data sheet of {known}"
    # CPUs have no fast float16 product: a large one takes a minute.
    size = 8192 if world.device.type == "cuda" else 256 if dtype == torch.float16 else 1024
    one = torch.ones(size, size, dtype=dtype, device=world.device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        (one @ one)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    total = sum(rate for [rate] in world.table([2 * size**3 / best]))
    return total, f"measured with a {size} × {size} matrix product"


def describe(world: World, micro_batch_size: int, compiled: bool, checkpointing: bool) -> dict[str, object]:
    """Return what may differ from resume to resume of one run, and can change its roundings."""
    device = "cpu" if world.device.type == "cpu" else torch.cuda.get_device_name(world.device)
    return {
        "device": device,
        "processes": world.size,
        "threads": torch.get_num_threads(),
        "micro_batch_size": micro_batch_size,
        "compile": compiled,
        "activation_checkpointing": checkpointing,
    }
