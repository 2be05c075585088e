"""The model: transformers' GPTNeoXForCausalLM is the judge."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from pile_tools.errors import ParameterError
from pile_tools.train.loss import loss_and_gradient
from pile_tools.train.model import GPTNeoX, flops_per_token, initialise
from pile_tools.train.sizes import SIZES
from tests.train.small import SHAPE, random_model


def judge(model: GPTNeoX) -> GPTNeoXForCausalLM:
    """transformers' model with the weights of ours."""
    config = GPTNeoXConfig(
        vocab_size=model.vocab,
        hidden_size=model.width,
        num_hidden_layers=model.n_layers,
        num_attention_heads=model.heads,
        intermediate_size=model.inner,
        attn_implementation="eager",
    )
    other = GPTNeoXForCausalLM(config)
    weights = {name.replace("embed_out.", "lm_head."): value for name, value in model.state_dict().items()}
    other.load_state_dict(weights)
    return other.train()


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.replace("lm_head.", "embed_out."): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def backward(model: GPTNeoX, tokens: torch.Tensor, dtype: torch.dtype = torch.float32) -> float:
    """Mean loss of predicting each next token, with its gradients, as training computes them."""
    hidden = model.hidden(tokens[:, :-1], dtype).flatten(0, 1)
    loss, gradient = loss_and_gradient(hidden.detach(), model.embed_out.weight, tokens[:, 1:].flatten())
    torch.autograd.backward(hidden, gradient)
    number = len(hidden)
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad /= number
    return loss.item() / number


@pytest.mark.parametrize(("size", "length"), [("14m", 129), ("31m", 2), ("70m", 37)])
def test_logits_and_gradients_are_those_of_transformers(size: str, length: int) -> None:
    row = SIZES[size]
    model = random_model(layers=row.layers, width=row.width, heads=row.heads, vocab=row.vocab)
    other = judge(model)
    tokens = torch.randint(0, row.vocab, (2, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), other(tokens).logits, rtol=0, atol=1e-5)

    loss = backward(model, tokens)
    expected = other(tokens, labels=tokens).loss
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    mine, theirs = gradients(model), gradients(other)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert (mine[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_sizes_have_the_published_numbers_of_parameters() -> None:
    expected = {
        "1m": 1_348_608,  # the demo's own, which is not of Pythia
        "14m": 14_067_712,
        "31m": 30_494_720,
        "70m": 70_426_624,
        "160m": 162_322_944,
        "410m": 405_334_016,
        "1b": 1_011_781_632,
        "1.4b": 1_414_647_808,
        "2.8b": 2_775_208_960,
        "6.9b": 6_857_302_016,
        "12b": 11_846_072_320,
    }
    for name, size in SIZES.items():
        with torch.device("meta"):
            model = GPTNeoX(layers=size.layers, width=size.width, heads=size.heads, vocab=size.vocab)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected[name], name


@pytest.mark.parametrize("shape", [{"width": 30}, {"heads": 0}, {"heads": 32}, {"layers": 0}, {"vocab": 0}])
def test_shapes_that_cannot_be(shape: dict[str, int]) -> None:
    with pytest.raises(ParameterError):
        GPTNeoX(**{**SHAPE, "heads": 4, **shape})


def test_initial_weights() -> None:
    model = GPTNeoX(layers=4, width=256, heads=4, vocab=5000)
    initialise(model, torch.Generator().manual_seed(7))
    small, wang = math.sqrt(2 / (5 * 256)), 2 / (4 * math.sqrt(256))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert torch.all(parameter == float(name.endswith("norm.weight"))), name
            continue
        ends = name.endswith(("attention.dense.weight", "mlp.dense_4h_to_h.weight"))
        assert parameter.std().item() == pytest.approx(wang if ends else small, rel=0.02), name
        assert abs(parameter.mean().item()) < 0.002
    again = GPTNeoX(layers=4, width=256, heads=4, vocab=5000)
    torch.manual_seed(99)  # the global generator does not matter
    initialise(again, torch.Generator().manual_seed(7))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.06), (torch.float16, 0.01)])
def test_sixteen_bits_stay_near(dtype: torch.dtype, tolerance: float) -> None:
    tokens = torch.randint(0, SHAPE["vocab"], (3, 12), generator=torch.Generator().manual_seed(2))
    exact, rough = random_model(**SHAPE), random_model(**SHAPE)
    assert backward(rough, tokens, dtype) == pytest.approx(backward(exact, tokens), rel=tolerance / 5)
    for name, gradient in gradients(exact).items():
        found = gradients(rough)[name]
        assert found.dtype == torch.float32
        assert (found - gradient).norm() <= tolerance * gradient.norm(), name


def test_activation_checkpointing_changes_no_bit() -> None:
    tokens = torch.randint(0, SHAPE["vocab"], (3, 12), generator=torch.Generator().manual_seed(2))
    kept, again = random_model(**SHAPE), random_model(**SHAPE)
    again.gpt_neox.recompute = True
    assert backward(kept, tokens) == backward(again, tokens)
    mine = gradients(again)
    assert all(torch.equal(gradient, mine[name]) for name, gradient in gradients(kept).items())


def test_operations_are_those_that_transformers_takes() -> None:
    model, length = random_model(**SHAPE), 16
    tokens = torch.randint(0, SHAPE["vocab"], (1, length))
    with FlopCounterMode(display=False) as counter:
        judge(model)(tokens).logits.sum().backward()
    # Its plain attention multiplies all pairs of tokens; a causal one (length + 1) / (2 · length) of them.
    pairs = 3 * model.n_layers * 2 * 2 * model.width * length * length
    ours = flops_per_token(model, length) * length
    assert counter.get_total_flops() == ours + pairs - pairs * (length + 1) // (2 * length)
