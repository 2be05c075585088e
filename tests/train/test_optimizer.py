"""Adam on a flat vector: torch.optim.AdamW over separate parameters is the judge."""

from pathlib import Path

import pytest
import torch

from pile_tools.errors import DataError
from pile_tools.train.model import GPTNeoX
from pile_tools.train.optimizer import FlatAdam
from pile_tools.train.parallel import World
from tests.train.small import SHAPE, random_model

CPU = torch.device("cpu")


def noise(model: GPTNeoX, step: int, scale: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(parameter.shape, generator=generator) * scale for parameter in model.parameters()]


def test_updates_are_those_of_adamw() -> None:
    mine, other = random_model(**SHAPE), random_model(**SHAPE)
    adam = FlatAdam(mine, World(CPU))
    matrices = [parameter for parameter in other.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in other.parameters() if parameter.ndim == 1]
    judge = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=1e-8,
        foreach=False,
    )
    for step, scale in enumerate([1.0, 1e-4, 3.0, 0.0]):  # clipped and not
        rate = 0.01 / (step + 1)
        adam.gradients.zero_()
        gradients = noise(mine, step, scale)
        for parameter, same, gradient in zip(mine.parameters(), other.parameters(), gradients, strict=True):
            assert parameter.grad is not None
            parameter.grad += gradient * 8
            same.grad = gradient.clone()
        norm = adam.norm(8.0)
        expected = torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        assert norm == pytest.approx(expected.item(), rel=1e-6)
        adam.update(rate)
        for group in judge.param_groups:
            group["lr"] = rate
        judge.step()
        for name, parameter in mine.named_parameters():
            torch.testing.assert_close(parameter, other.get_parameter(name), rtol=1e-5, atol=1e-7)


def test_gradients_that_are_not_finite_are_left_alone() -> None:
    adam = FlatAdam(random_model(**SHAPE), World(CPU))
    adam.gradients[5] = float("inf")
    assert adam.norm(2.0) == float("inf")
    assert adam.gradients[:6].tolist() == [0, 0, 0, 0, 0, float("inf")]


@pytest.mark.parametrize(("writers", "readers"), [(1, 3), (3, 2), (2, 5), (4, 1)])
def test_state_is_read_by_another_number_of_processes(tmp_path: Path, writers: int, readers: int) -> None:
    shape = {"layers": 1, "width": 16, "heads": 2, "vocab": 13}  # no shard ends where a parameter does
    whole = None
    for rank in range(writers):
        adam = FlatAdam(random_model(**shape), World(CPU, rank, writers))
        if whole is None:
            whole = torch.randn(2, adam.length, generator=torch.Generator().manual_seed(1))
        adam.exp_avg.copy_(whole[0, adam.lo : adam.hi])
        adam.exp_avg_sq.copy_(whole[1, adam.lo : adam.hi])
        adam.updates = 17
        adam.save(tmp_path)
        layout = adam.layout()
    assert whole is not None
    found: list[list[torch.Tensor]] = [[], []]
    for rank in range(readers):
        adam = FlatAdam(random_model(**shape), World(CPU, rank, readers))
        adam.load(tmp_path, layout)
        assert adam.updates == 17
        found[0].append(adam.exp_avg)
        found[1].append(adam.exp_avg_sq)
    assert torch.equal(torch.stack([torch.cat(parts) for parts in found]), whole)


def test_state_of_another_model_or_damaged(tmp_path: Path) -> None:
    adam = FlatAdam(random_model(**SHAPE), World(CPU))
    adam.save(tmp_path)
    layout = adam.layout()
    other = FlatAdam(random_model(**{**SHAPE, "vocab": 5}), World(CPU))
    with pytest.raises(DataError, match="another model"):
        other.load(tmp_path, layout)
    path = tmp_path / "optimizer-0-of-1.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="damaged or missing"):
        adam.load(tmp_path, layout)
    path.unlink()
    with pytest.raises(DataError, match="damaged or missing"):
        adam.load(tmp_path, layout)
