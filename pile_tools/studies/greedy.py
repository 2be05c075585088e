"""Greedy decoding with a key and value cache, for GPT-NeoX models of ``pile_tools.train``.

Only the last position's logits are computed, nothing waits for the device until the end, and cache and logits
are written in place: a step is as few operations as the model allows. Letters: b sequences, t tokens so far,
w width, h heads, d = w / h, r rotary dimensions of a head, k prompt tokens, l new ones, v vocabulary.
"""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pile_tools.train.model import GPTNeoX

__all__ = ["greedy_continuation"]

Tables = tuple[Tensor, Tensor]
# Ids among which the largest logit is looked for at a time.
_GROUP: Final = 128


@torch.inference_mode()
def greedy_continuation(model: GPTNeoX, prompt: Tensor, length: int) -> Tensor:
    """Return the most probable token after ``prompt``, ``length`` times over: int64 [b, l].

    ``prompt`` int64 [b, k], all of one length, on the model's device. The first of equal logits wins. A
    continuation does not end at an end-of-document token.
    """
    b, k = prompt.shape
    if length == 0:
        return prompt.new_empty(b, 0)
    weight = model.embed_out.weight  # [v, w]
    total = k + length - 1
    d = model.width // model.heads
    caches = [
        torch.empty(2, b, model.heads, total, d, dtype=weight.dtype, device=weight.device)
        for _ in range(model.n_layers)
    ]
    tables = _rotary(model, total, weight)
    # Ids go down the rows: on CPUs that product takes three quarters of the time of the other way round.
    logits = weight.new_full((-(-len(weight) // _GROUP) * _GROUP, b), -math.inf)
    out = prompt.new_empty(b, length)
    tokens = prompt
    for step in range(length):
        start = 0 if step == 0 else k + step - 1
        hidden = _advance(model, tokens, start, caches, tables)  # [b, w], of the last position
        torch.mm(weight, hidden.t(), out=logits[: len(weight)])
        out[:, step] = _first_largest(logits)
        tokens = out[:, step : step + 1]
    return out


def _first_largest(logits: Tensor) -> Tensor:
    """Return the row of the first largest number in each column of ``logits`` [a multiple of the group, b].

    What ``argmax`` returns; that one follows every number with its place, this one those of one group.
    """
    groups = logits.view(-1, _GROUP, logits.shape[1])
    group = groups.amax(dim=1).argmax(dim=0)  # [b]
    columns = torch.arange(logits.shape[1], device=logits.device)
    return group * _GROUP + groups[group, :, columns].argmax(dim=1)


def _rotary(model: GPTNeoX, t: int, like: Tensor) -> Tables:
    """Return cosine and sine of position × frequency, two [t, 1, 1, r / 2]."""
    r = model.gpt_neox.rotary
    frequency = 1.0 / model.rotary_base ** (
        torch.arange(0, r, 2, dtype=torch.float32, device=like.device) / r
    )
    angle = torch.outer(torch.arange(t, dtype=torch.float32, device=like.device), frequency)[:, None, None]
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _advance(model: GPTNeoX, tokens: Tensor, start: int, caches: list[Tensor], tables: Tables) -> Tensor:
    """Read ``tokens`` [b, n] at the positions from ``start`` on; return the last hidden state, [b, w]."""
    n = tokens.shape[1]
    stop = start + n
    cos, sin = tables[0][start:stop], tables[1][start:stop]
    x = F.embedding(tokens, model.gpt_neox.embed_in.weight)  # [b, n, w]
    for layer, cache in zip(model.gpt_neox.layers, caches, strict=True):
        x = _layer(layer, x, start, stop, cache, cos, sin)
    hidden: Tensor = model.gpt_neox.final_layer_norm(x[:, -1])
    return hidden


def _layer(layer: Any, x: Tensor, start: int, stop: int, cache: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    attention = layer.attention
    b, n, w = x.shape
    h, r = attention.heads, attention.rotary
    # The 3·w outputs go by head, then by query, key and value.
    qkv = attention.query_key_value(layer.input_layernorm(x)).view(b, n, h, 3, w // h)
    one, two = qkv[..., :2, : r // 2], qkv[..., :2, r // 2 : r]
    turned = torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)  # [b, n, h, 2, r]
    qkv[..., :2, :r] = turned
    query, key, value = qkv.permute(3, 0, 2, 1, 4).unbind(0)  # [b, h, n, d] each
    cache[0, :, :, start:stop] = key
    cache[1, :, :, start:stop] = value
    # A single new token sees all that is cached; a prompt sees what is before it.
    out = F.scaled_dot_product_attention(
        query, cache[0, :, :, :stop], cache[1, :, :, :stop], is_causal=start == 0 and n > 1
    )
    attended = attention.dense(out.transpose(1, 2).reshape(b, n, w))
    result: Tensor = layer.mlp(layer.post_attention_layernorm(x)) + attended + x
    return result
