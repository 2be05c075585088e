"""The cache of a model of transformers, under each name that a release has given it."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pile_tools.studies.models import _Transformers

VOCAB = 53


class Reader(nn.Module):
    """A model whose next token depends on all that it has read: the sum of the ids, times a prime.

    A cache is the sum so far; without one, the ids that are given are all that there is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 1)
        self.config = SimpleNamespace()
        self.read = 0

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def answer(self, input_ids: Tensor, so_far: Tensor | None) -> tuple[Tensor, Tensor]:
        self.read += input_ids.shape[1]
        total = input_ids.sum(dim=1) + (0 if so_far is None else so_far)
        logits = nn.functional.one_hot((total * 31 + 7) % VOCAB, VOCAB).float()
        return logits[:, None], total


class NewName(Reader):
    def forward(self, input_ids: Tensor, cache: Any = None, use_cache: bool = False, **kwargs: Any) -> Any:
        assert "past_key_values" not in kwargs, "deprecated"
        logits, total = self.answer(input_ids, cache)
        return SimpleNamespace(logits=logits, cache=total if use_cache else None)


class OldName(Reader):
    def forward(
        self, input_ids: Tensor, past_key_values: Any = None, use_cache: bool = False, **kwargs: Any
    ) -> Any:
        logits, total = self.answer(input_ids, past_key_values)
        return SimpleNamespace(logits=logits, past_key_values=total if use_cache else None)


class NoName(Reader):
    """Swallows every name, and hands out a state that it never takes back."""

    def forward(self, input_ids: Tensor, **kwargs: Any) -> Any:
        logits, total = self.answer(input_ids, None)
        return SimpleNamespace(logits=logits, cache=total, past_key_values=total)


class ForgetsCache(Reader):
    def forward(self, input_ids: Tensor, cache: Any = None, use_cache: bool = False) -> Any:
        return SimpleNamespace(logits=self.answer(input_ids, cache)[0])


@pytest.mark.parametrize(
    ("kind", "ids_read"), [(NewName, 5 + 7), (OldName, 5 + 7), (NoName, 68), (ForgetsCache, 68)]
)
def test_every_token_of_the_prompt_counts_whatever_the_cache_is_called(
    kind: type[Reader], ids_read: int
) -> None:
    prompt = torch.tensor([[3, 1, 4, 1, 5], [2, 7, 1, 8, 2]])
    model = kind()
    continuation = _Transformers(model).continue_greedily(prompt, 8)
    rows = prompt.tolist()
    for row in rows:
        for _ in range(8):
            row.append((sum(row) * 31 + 7) % VOCAB)
    assert continuation.tolist() == [row[5:] for row in rows]
    assert model.read == ids_read
