"""GPT-NeoX as Pythia trained it: the model, its initial weights and its cost.

Parameters have the names that published checkpoints give them. Sources: Biderman et al. 2023 (Pythia); Black
et al. 2022 (GPT-NeoX-20B: parallel residual, rotary share); Su et al. 2021 (rotary embeddings); Nguyen and
Salazar 2019 (``small_init``); Wang and Komatsuzaki 2021 (``wang_init``).

Letters in the comments: b sequences, t tokens, w width, h heads, d = w / h, r rotary dimensions of a head,
v vocabulary, n = b · t.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pile_tools.errors import ParameterError

__all__ = ["GPTNeoX", "flops_per_token", "initialise"]


class Linear(nn.Linear):
    """A linear map whose float32 weights are used in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class LayerNorm(nn.LayerNorm):
    """A layer norm whose float32 weights are used in the dtype of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(
            x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps
        )


def _rotary_tables(t: int, r: int, base: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of position × frequency, two [t, 1, 1, r / 2] in the dtype of ``like``."""
    frequency = 1.0 / base ** (torch.arange(0, r, 2, dtype=torch.float32, device=like.device) / r)
    angle = torch.outer(torch.arange(t, dtype=torch.float32, device=like.device), frequency)[:, None, None]
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


class Attention(nn.Module):
    """Causal self-attention; each head turns its first ``rotary`` dimensions by the token's position."""

    def __init__(self, width: int, heads: int, rotary: int) -> None:
        super().__init__()
        self.heads, self.rotary = heads, rotary
        self.query_key_value = Linear(width, 3 * width)
        self.dense = Linear(width, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, w = x.shape
        d, half = w // self.heads, self.rotary // 2
        # The 3·w outputs go by head, then by query, key and value.
        qk, value = self.query_key_value(x).view(b, t, self.heads, 3, d).split((2, 1), dim=3)
        one, two, rest = qk.split((half, half, d - 2 * half), dim=-1)  # [b, t, h, 2, …]
        qk = torch.cat((one * cos - two * sin, two * cos + one * sin, rest), dim=-1)
        query, key = qk.transpose(1, 2).unbind(3)  # [b, h, t, d] each
        out = F.scaled_dot_product_attention(query, key, value.squeeze(3).transpose(1, 2), is_causal=True)
        attended: Tensor = self.dense(out.transpose(1, 2).reshape(b, t, w))
        return attended


class FeedForward(nn.Module):
    """Two linear maps with the exact GELU (by the error function) between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense_h_to_4h = Linear(width, inner)
        self.dense_4h_to_h = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))
        return out


class Layer(nn.Module):
    """Attention and feed-forward side by side: both read the layer's input, each through its own norm."""

    def __init__(self, width: int, heads: int, inner: int, rotary: int, eps: float) -> None:
        super().__init__()
        self.input_layernorm = LayerNorm(width, eps)
        self.post_attention_layernorm = LayerNorm(width, eps)
        self.attention = Attention(width, heads, rotary)
        self.mlp = FeedForward(width, inner)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # [b, t, w] -> [b, t, w]
        attended = self.attention(self.input_layernorm(x), cos, sin)
        out: Tensor = self.mlp(self.post_attention_layernorm(x)) + attended + x
        return out


class Body(nn.Module):
    """Everything but the output embedding: tokens to hidden states."""

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        inner: int,
        vocab: int,
        rotary: int,
        base: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.rotary, self.base = rotary, base
        self.recompute = False  # activation checkpointing
        self.embed_in = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList(Layer(width, heads, inner, rotary, eps) for _ in range(layers))
        self.final_layer_norm = LayerNorm(width, eps)

    def forward(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:  # int64 [b, t] -> [b, t, w]
        x = self.embed_in(tokens).to(dtype)
        cos, sin = _rotary_tables(tokens.shape[1], self.rotary, self.base, x)
        for layer in self.layers:
            if self.recompute:
                x = checkpoint(layer, x, cos, sin, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, cos, sin)
        hidden: Tensor = self.final_layer_norm(x)
        return hidden


class GPTNeoX(nn.Module):
    """GPT-NeoX with parallel residual, biases and untied embeddings; the weights are float32.

    ``width`` is shared by ``heads`` heads, of which the share ``rotary_share`` of the dimensions is rotary;
    ``inner`` is the feed-forward width (default: 4 · width); ``max_positions`` is written to
    ``config.json`` and limits nothing here. Raises ParameterError for a shape that cannot be.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        vocab: int,
        inner: int | None = None,
        max_positions: int = 2048,
        rotary_share: float = 0.25,
        rotary_base: float = 10000.0,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        numbers = {"layers": layers, "width": width, "heads": heads, "vocab": vocab}
        for name, number in numbers.items():
            if number < 1:
                raise ParameterError(f"{name} {number} must be at least 1")
        rotary = int(width // heads * rotary_share)
        if width % heads or rotary % 2 or rotary == 0:
            raise ParameterError(
                f"width {width} on {heads} heads with a rotary share of {rotary_share}: "
                "each head needs a whole number of dimensions, an even one of them rotary"
            )
        self.n_layers, self.width, self.heads, self.vocab = layers, width, heads, vocab
        self.inner = 4 * width if inner is None else inner
        self.max_positions, self.rotary_share, self.rotary_base = max_positions, rotary_share, rotary_base
        self.eps = eps
        self.gpt_neox = Body(layers, width, heads, self.inner, vocab, rotary, rotary_base, eps)
        self.embed_out = nn.Linear(width, vocab, bias=False)

    def hidden(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the hidden states that the output embedding reads, [b, t, w] in ``dtype``."""
        hidden: Tensor = self.gpt_neox(tokens, dtype)
        return hidden

    def forward(self, tokens: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the logits [b, t, v] for ``tokens`` (integers [b, t]), computed in ``dtype``."""
        hidden = self.hidden(tokens, dtype)
        return F.linear(hidden, self.embed_out.weight.to(dtype))


@torch.no_grad()
def initialise(model: GPTNeoX, generator: torch.Generator) -> None:
    """Draw the initial weights: ``small_init``, and ``wang_init`` for what adds to the residual stream.

    Weights are normal with standard deviation √(2 / (5·width)), those of the two projections that end a
    layer's branches with 2 / (layers·√width); biases are 0 and norms 1. ``generator`` is on the CPU, and
    parameters draw from it in the order of the state dict, so that a seed means the same everywhere.
    """
    small = math.sqrt(2 / (5 * model.width))
    wang = 2 / (model.n_layers * math.sqrt(model.width))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        else:
            std = wang if name.endswith(("attention.dense.weight", "dense_4h_to_h.weight")) else small
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))


def flops_per_token(model: GPTNeoX, seq_length: int) -> int:
    """Return the floating-point operations of one token's forward and backward pass.

    Counted are the matrix products, a multiplication and an addition each, the backward pass as twice the
    forward one: every weight matrix but the input embedding, and the attention's two products over the
    (seq_length + 1) / 2 tokens that a token sees on average (causal). Recomputed activations do not count.
    """
    matrices = sum(p.numel() for n, p in model.named_parameters() if p.ndim == 2 and "embed_in" not in n)
    attention = model.n_layers * 2 * model.width * (seq_length + 1) // 2
    return 3 * 2 * (matrices + attention)
