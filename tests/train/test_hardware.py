"""The peak of a device, and settings that are put back."""

import numpy as np
import pytest
import torch

from pile_tools.train.hardware import data_sheet, deterministic, peak_flops, to_device
from pile_tools.train.parallel import World


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A40", 150e12),
        ("NVIDIA RTX A4000", None),
        ("Tesla T4", None),
    ],
)
def test_peaks_of_known_gpus(name: str, peak: float | None) -> None:
    found = data_sheet(name)
    assert (found and found[0]) == peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_peak_of_this_machine_is_measured(dtype: torch.dtype) -> None:
    peak, origin = peak_flops(World(torch.device("cpu")), dtype)
    assert 1e6 < peak < 1e16
    assert origin.startswith("measured with a ")


def test_settings_are_put_back() -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    with deterministic(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "highest"
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()) == before


def test_tokens_become_int64() -> None:
    rows = to_device(np.array([[1, 65_535]], np.uint16), torch.device("cpu"))
    assert rows.dtype == torch.int64
    assert rows.tolist() == [[1, 65_535]]
