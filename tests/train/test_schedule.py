"""Learning rates and checkpoint schedules."""

import math

import pytest

from pile_tools.errors import ParameterError
from pile_tools.train.schedule import CHECKPOINTS, checkpoint_due, learning_rate


def test_rises_over_a_hundredth_and_falls_to_a_tenth() -> None:
    rates = [learning_rate(step, 2000, 6e-4) for step in range(2000)]
    assert rates[:20] == pytest.approx([6e-4 * (step + 1) / 20 for step in range(20)])
    assert max(rates) == rates[19] == pytest.approx(6e-4)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] == pytest.approx(6e-5)
    middle = 19 + (2000 - 20) // 2  # half of the cosine: halfway between peak and floor
    assert rates[middle] == pytest.approx(3.3e-4)
    quarter = 19 + (2000 - 20) // 4
    assert rates[quarter] == pytest.approx(6e-5 + 5.4e-4 * (1 + math.cos(math.pi / 4)) / 2)


@pytest.mark.parametrize("steps", [1, 2, 20, 99])
def test_short_runs(steps: int) -> None:
    rates = [learning_rate(step, steps, 1.0) for step in range(steps)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert all(rate <= 1 for rate in rates)


def test_the_schedule_of_pythia_has_154_checkpoints() -> None:
    due = checkpoint_due(CHECKPOINTS)
    steps = [step for step in range(143_001) if due(step)]
    assert steps[:13] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000]
    assert (len(steps), steps[-1]) == (154, 143_000)


def test_other_schedules() -> None:
    due = checkpoint_due("3, every 5,every 7")
    assert [step for step in range(16) if due(step)] == [3, 5, 7, 10, 14, 15]


@pytest.mark.parametrize("text", ["", "1,", "-1", "every", "every 0", "each 5", "1.5", "²", "every 2 3"])
def test_schedules_that_are_none(text: str) -> None:
    with pytest.raises(ParameterError, match="schedule"):
        checkpoint_due(text)
