"""The largest logit of each sequence, judged by NumPy; continuations of a vocabulary of several groups."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pile_tools.studies.greedy import _GROUP, _first_largest, greedy_continuation
from pile_tools.train import load_model
from tests.studies.small import make_own


@given(
    table=st.integers(1, 3).flatmap(
        lambda groups: arrays.arrays(
            np.float32,
            st.tuples(st.just(groups * _GROUP), st.integers(1, 4)),
            # Few different numbers, so that there are ties in and across groups.
            elements=st.sampled_from([-math.inf, -1.5, 0.0, 2.0]),
        )
    )
)
def test_the_first_of_equal_logits_wins(table: np.ndarray) -> None:
    assert np.array_equal(_first_largest(torch.from_numpy(table)).numpy(), table.argmax(axis=0))


@pytest.mark.parametrize("vocab", [128, 129, 500])
def test_vocabularies_that_fill_no_group(vocab: int, tmp_path: Path) -> None:
    directory = make_own(tmp_path / "model", vocab=vocab)
    prompt = torch.from_numpy(np.random.RandomState(2).randint(0, vocab, (7, 6)))
    judge = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    tokens = prompt
    with torch.inference_mode():
        for _ in range(5):
            tokens = torch.cat((tokens, judge(tokens).logits[:, -1:].argmax(dim=-1)), dim=1)
    assert torch.equal(greedy_continuation(load_model(directory), prompt, 5), tokens[:, 6:])


def test_nothing_is_asked_for(tmp_path: Path) -> None:
    model = load_model(make_own(tmp_path / "model"))
    assert greedy_continuation(model, torch.ones(3, 2, dtype=torch.int64), 0).shape == (3, 0)
