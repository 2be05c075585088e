"""The loss of the output embedding, without ever holding the logits of a whole micro-batch.

With a vocabulary of 50,304 the logits are the largest array of training by far, and passes over them, their
softmax and their gradient cost as much as products. Here they exist for some hundred tokens at a time, and
the softmax and both gradients are taken while they do.
"""

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

__all__ = ["logit_gradient", "logit_gradient_in_place", "loss_and_gradient"]

LogitGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# Rows of logits that exist at a time; [512, 50304] in float32 is 103 MB. Fewer rows make more passes over the
# gradient of the output embedding, more rows take memory and gain nothing (benchmarks/train_loss.py).
_ROWS: Final = {"cpu": 512, "cuda": 8192}


def logit_gradient_in_place(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return what ``logit_gradient`` returns, and write over float32 ``logits`` meanwhile."""
    p = logits.float()  # a copy of 16-bit logits, float32 ones themselves
    top = p.amax(dim=1, keepdim=True)
    wanted = p.gather(1, label[:, None])
    total = p.sub_(top).exp_().sum(dim=1, keepdim=True)
    loss = (total.log() + (top - wanted)).sum(dtype=torch.float64)
    p.div_(total)
    p[torch.arange(len(label), device=p.device), label] -= 1.0
    return loss, p.to(logits.dtype)


def logit_gradient(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of −log softmax(``logits``)[label], float64 [], and its gradient, softmax − one-hot.

    ``logits`` [c, v] in any float dtype, which the gradient has too; ``label`` int64 [c]. The softmax is
    taken in float32. Without writing in place, so that a compiler can join it into two passes.
    """
    wide = logits.float()
    log_total = wide.logsumexp(dim=1, keepdim=True)
    loss = (log_total - wide.gather(1, label[:, None])).sum(dtype=torch.float64)
    one_hot = torch.arange(logits.shape[1], device=logits.device) == label[:, None]
    return loss, ((wide - log_total).exp() - one_hot.float()).to(logits.dtype)


@torch.no_grad()
def loss_and_gradient(
    hidden: Tensor,
    output: Tensor,
    labels: Tensor,
    scale: float = 1.0,
    of_logits: LogitGradient = logit_gradient_in_place,
) -> tuple[Tensor, Tensor]:
    """Return the loss of ``labels`` and its gradient by ``hidden``; add the other to ``output.grad``.

    ``hidden`` [n, w] is read by the output embedding ``output`` [v, w] (float32); ``labels`` int64 [n]. The
    loss is the sum over tokens of −log p(label), float64 [], unscaled; the gradients are those of
    ``scale`` · loss, that by ``hidden`` in its dtype.
    """
    rows = _ROWS.get(hidden.device.type, 8192)
    weight = output.to(hidden.dtype)
    loss = torch.zeros((), dtype=torch.float64, device=hidden.device)
    gradient = torch.empty_like(hidden)
    logits = torch.empty((min(rows, len(hidden)), len(output)), dtype=hidden.dtype, device=hidden.device)
    if output.grad is None:
        output.grad = torch.zeros_like(output)
    for start in range(0, len(hidden), rows):
        part, label = hidden[start : start + rows], labels[start : start + rows]  # [c, w], [c]
        torch.mm(part, weight.t(), out=logits[: len(part)])
        part_loss, p = of_logits(logits[: len(part)], label)  # [], [c, v]
        loss += part_loss
        torch.mm(p, weight, out=gradient[start : start + rows])
        scaled = part * scale
        if hidden.dtype == torch.float32:
            output.grad.addmm_(p.t(), scaled)
        else:
            output.grad += p.t() @ scaled
    return loss, gradient.mul_(scale)
