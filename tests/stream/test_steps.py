"""Ranges of steps: as they are written, and those that a stream does not have."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.errors import OutOfRangeError, ParameterError
from tests.lookups.conftest import MakeStream


@pytest.mark.parametrize("steps", [(0, 7), (-1, 2), (6, None), (None, 99)])
def test_steps_that_the_stream_does_not_have(steps: Sequence[int | None], make_stream: MakeStream) -> None:
    viewer = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    with pytest.raises((OutOfRangeError, ParameterError), match=r"no steps|hold no step"):
        viewer.find("a", steps=(steps[0], steps[1]))


def test_a_batch_size_larger_than_the_stream(make_stream: MakeStream) -> None:
    stream = make_stream([[0, 1, 6], [6, 10, 11, 0]])
    viewer = BatchViewer.open(stream.dataset.store.name, batch_size=99)
    ask: list[Callable[..., Any]] = [
        lambda **steps: viewer.find("a", **steps),
        lambda **steps: viewer.count("a", **steps),
        lambda **steps: viewer.terms(["a"], **steps),
    ]
    for question in ask:
        for steps in ({}, {"steps": (0, 1)}):
            with pytest.raises(ParameterError, match="not one whole batch of 99, so no step"):
                question(**steps)
