"""Adam on one flat vector of all parameters, its state divided among the processes.

Parameters and gradients are views of two flat float32 vectors. Every process sums the whole gradient,
updates one contiguous part of the vector, whose Adam state only it holds, and receives the other parts (the
first stage of ZeRO: Rajbhandari et al. 2020). PyTorch's DistributedDataParallel is not used: it lays its
buckets anew after the first step, so that three processes or more would add in another order after a resume
than without one. ZeroRedundancyOptimizer collects its state through pickle.
"""

import math
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pile_tools.errors import DataError
from pile_tools.formats.names import path_inside
from pile_tools.train.model import GPTNeoX
from pile_tools.train.parallel import World
from pile_tools.train.weights import save_tensors

__all__ = ["BETAS", "CLIP", "EPS", "WEIGHT_DECAY", "FlatAdam", "shard_name"]

BETAS: Final = (0.9, 0.95)
EPS: Final = 1e-8
WEIGHT_DECAY: Final = 0.1
CLIP: Final = 1.0
_ALIGN: Final = 16  # float32 values in a cache line: every parameter begins at one


def shard_name(rank: int, size: int) -> str:
    """Return the file name of the Adam state that ``rank`` of ``size`` processes holds."""
    return f"optimizer-{rank}-of-{size}.safetensors"


class FlatAdam:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019) over the parameters of ``model``.

    ``model`` is on its device already; its parameters become views of one vector, matrices (which decay)
    before biases and norms (which do not), and its gradients views of another, to be added to and never
    replaced.
    """

    def __init__(self, model: GPTNeoX, world: World) -> None:
        self.world = world
        named = sorted(model.named_parameters(), key=lambda item: item[1].ndim < 2)  # stable
        self.offsets: dict[str, int] = {}
        end = decayed = 0
        for name, parameter in named:
            self.offsets[name] = end
            end += -(-parameter.numel() // _ALIGN) * _ALIGN
            decayed = end if parameter.ndim > 1 else decayed
        self.length = end
        self.shard = -(-end // (_ALIGN * world.size)) * _ALIGN
        whole = self.shard * world.size
        self.parameters = torch.zeros(whole, device=world.device)
        self.gradients = torch.zeros(whole, device=world.device)
        for name, parameter in named:
            part = slice(self.offsets[name], self.offsets[name] + parameter.numel())
            self.parameters[part] = parameter.detach().reshape(-1)
            parameter.data = self.parameters[part].view(parameter.shape)
            parameter.grad = self.gradients[part].view(parameter.shape)
        self.lo = min(world.rank * self.shard, end)
        self.hi = min(self.lo + self.shard, end)
        middle = min(max(decayed, self.lo), self.hi)
        self.exp_avg = torch.zeros(self.hi - self.lo, device=world.device)
        self.exp_avg_sq = torch.zeros_like(self.exp_avg)
        self.updates = 0
        self._adam = self._make_adam([(self.lo, middle, WEIGHT_DECAY), (middle, self.hi, 0.0)])

    def _make_adam(self, parts: list[tuple[int, int, float]]) -> torch.optim.AdamW | None:
        groups: list[dict[str, Any]] = []
        state: dict[Tensor, Any] = {}
        for lo, hi, decay in parts:
            if lo == hi:
                continue
            own = nn.Parameter(self.parameters[lo:hi])
            own.grad = self.gradients[lo:hi]
            groups.append({"params": [own], "weight_decay": decay})
            state[own] = {
                "step": torch.zeros((), device=self.world.device),
                "exp_avg": self.exp_avg[lo - self.lo : hi - self.lo],
                "exp_avg_sq": self.exp_avg_sq[lo - self.lo : hi - self.lo],
            }
        if not groups:
            return None
        adam = torch.optim.AdamW(groups, lr=0.0, betas=BETAS, eps=EPS, fused=True)
        adam.state.update(state)
        return adam

    def norm(self, divisor: float) -> float:
        """Divide the summed gradients by ``divisor``, clip them to norm ``CLIP``, return the norm before.

        The processes' gradients are summed first. A norm that is not finite leaves them as they are.
        """
        self.world.add(self.gradients)
        norm = float(torch.linalg.vector_norm(self.gradients)) / divisor
        if math.isfinite(norm):
            self.gradients.mul_(min(1.0, CLIP / norm if norm else 1.0) / divisor)
        return norm

    def update(self, learning_rate: float) -> None:
        """Update the parameters by the gradients as they stand, on every process."""
        self.updates += 1
        if self._adam is not None:
            for group in self._adam.param_groups:
                group["lr"] = learning_rate
            self._adam.step()
        self.world.collect(list(torch.split(self.parameters, self.shard)))

    def layout(self) -> dict[str, Any]:
        """Return what says where in the files of ``save`` the state of each parameter is."""
        bounds = [min(rank * self.shard, self.length) for rank in range(self.world.size + 1)]
        return {
            "files": [shard_name(rank, self.world.size) for rank in range(self.world.size)],
            "bounds": bounds,
            "offsets": self.offsets,
            "updates": self.updates,
        }

    def save(self, directory: Path) -> None:
        """Write this process's part of the state: exp_avg and exp_avg_sq, float32."""
        path = directory / shard_name(self.world.rank, self.world.size)
        save_tensors({"exp_avg": self.exp_avg, "exp_avg_sq": self.exp_avg_sq}, path)

    def load(self, directory: Path, layout: dict[str, Any]) -> None:
        """Read this process's part of a state that any number of processes wrote."""
        if layout["offsets"] != self.offsets or layout["bounds"][-1] != self.length:
            raise DataError(f"{directory}: the optimizer state is that of another model")
        self.updates = layout["updates"]
        if self._adam is not None:
            for state in self._adam.state.values():
                state["step"].fill_(self.updates)
        for rank, name in enumerate(layout["files"]):
            lo, hi = layout["bounds"][rank : rank + 2]
            first, last = max(lo, self.lo), min(hi, self.hi)
            if first >= last:
                continue
            path = path_inside(directory, name)
            try:
                with safe_open(path, framework="pt") as file:
                    for key, own in (("exp_avg", self.exp_avg), ("exp_avg_sq", self.exp_avg_sq)):
                        own[first - self.lo : last - self.lo] = file.get_slice(key)[first - lo : last - lo]
            except (SafetensorError, FileNotFoundError) as error:
                raise DataError(f"{path}: damaged or missing ({error})") from None
