"""The loss in parts: cross_entropy in float64 is the judge."""

import pytest
import torch
import torch.nn.functional as F

from pile_tools.train.loss import LogitGradient, logit_gradient, logit_gradient_in_place, loss_and_gradient

BOTH = [logit_gradient_in_place, logit_gradient]


@pytest.mark.parametrize("of_logits", BOTH)
@pytest.mark.parametrize("rows", [1, 511, 512, 1300])
def test_loss_in_parts_is_cross_entropy(rows: int, of_logits: LogitGradient) -> None:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 8, generator=generator) * 3
    output = torch.nn.Parameter(torch.randn(301, 8, generator=generator) * 3)  # logits of tens: p underflows
    labels = torch.randint(0, 301, (rows,), generator=generator)
    output.grad = torch.full_like(output, 0.5)  # gradients are added to, never replaced
    loss, gradient = loss_and_gradient(hidden, output, labels, 4.0, of_logits)

    wide, weight = hidden.double().requires_grad_(), output.detach().double().requires_grad_()
    expected = F.cross_entropy(wide @ weight.T, labels, reduction="sum")
    (4 * expected).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert wide.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(gradient.double(), wide.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.grad.double() - 0.5, weight.grad, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("of_logits", BOTH)
def test_loss_of_one_certain_token(of_logits: LogitGradient) -> None:
    output = torch.nn.Parameter(torch.tensor([[200.0], [-200.0]]))
    for label, expected in ((0, 0.0), (1, 400.0)):  # e^-400 is no float32
        loss, _ = loss_and_gradient(torch.ones(1, 1), output, torch.tensor([label]), 1.0, of_logits)
        assert loss.item() == expected


@pytest.mark.parametrize("of_logits", BOTH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_of_logits_has_their_dtype(dtype: torch.dtype, of_logits: LogitGradient) -> None:
    logits = torch.randn(5, 70, generator=torch.Generator().manual_seed(0)).to(dtype)
    labels = torch.tensor([0, 69, 3, 3, 8])
    expected = torch.softmax(logits.float(), dim=1)
    expected[range(5), labels] -= 1
    loss = F.cross_entropy(logits.float(), labels, reduction="sum")
    found, gradient = of_logits(logits, labels)
    assert found.item() == pytest.approx(loss.item(), rel=1e-6)
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, expected.to(dtype), rtol=1e-2, atol=1e-6)
