from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.studies.model_name import ModelName
from pile_tools.studies.models import model_identity, open_model
from tests.hub_server import Hub, running_hub, use_as_hub
from tests.studies.small import VOCAB, make_gpt2, make_mamba, make_own, rename_kind


def prompts(rows: int, length: int, seed: int = 3) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, VOCAB, (rows, length))


@pytest.mark.parametrize("make", [make_own, make_gpt2, make_mamba])
@pytest.mark.parametrize(("k", "length"), [(1, 1), (5, 9), (32, 32)])
def test_greedy_is_what_transformers_generates(
    make: Callable[[Path], Path], k: int, length: int, tmp_path: Path
) -> None:
    directory = make(tmp_path / "model")
    judge = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    prompt = torch.from_numpy(prompts(6, k))
    with torch.inference_mode():
        expected = judge.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=length,
            min_new_tokens=length,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[:, k:]
    found = open_model(ModelName(str(directory))).greedy(prompt.numpy(), length)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected.numpy())
    assert len(np.unique(found)) > (1 if length > 1 else 0)


@pytest.mark.parametrize("make", [make_own, make_gpt2])
def test_losses_are_those_of_transformers(make: Callable[[Path], Path], tmp_path: Path) -> None:
    directory = make(tmp_path / "model")
    judge = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    sequences = prompts(3, 41)
    with torch.inference_mode():
        logits = judge(torch.from_numpy(sequences[:, :-1])).logits.double()
    expected = -torch.log_softmax(logits, dim=-1).gather(2, torch.from_numpy(sequences[:, 1:, None]))[..., 0]
    found = open_model(ModelName(str(directory))).token_losses(sequences)
    assert found.shape == (3, 40)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_gpt_neox_of_another_kind_is_left_to_transformers(tmp_path: Path) -> None:
    directory = make_own(tmp_path / "model")
    rename_kind(directory, use_parallel_residual=False)
    judge = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    sequences = prompts(2, 12)
    with torch.inference_mode():
        expected = judge(torch.from_numpy(sequences[:, :-1])).logits[:, -1].argmax(-1)
    found = open_model(ModelName(str(directory))).greedy(sequences[:, :-1], 1)[:, 0]
    assert np.array_equal(found, expected.numpy())


def test_identity_is_that_of_the_weights(tmp_path: Path) -> None:
    one, same = (ModelName(str(make_own(tmp_path / name))) for name in ("one", "same"))
    other = ModelName(str(make_own(tmp_path / "other", seed=1)))
    assert model_identity(one) == model_identity(same) != model_identity(other)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    directory = make_own(tmp_path / "model")
    with pytest.raises(ParameterError, match="no revision 'step1'"):
        open_model(ModelName(str(directory), "step1"))
    with pytest.raises(PileToolsError, match="neither a directory nor a Hub id"):
        open_model(ModelName(str(tmp_path / "nothing")))
    with pytest.raises(ParameterError, match="dtype 'int8'"):
        open_model(ModelName(str(directory)), dtype="int8")
    with pytest.raises(ParameterError, match="device 'tpu'"):
        open_model(ModelName(str(directory)), device="tpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PileToolsError, match=r"config\.json: no such file"):
        open_model(ModelName(str(tmp_path / "empty")))
    gpt2 = make_gpt2(tmp_path / "gpt2")
    (gpt2 / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match="transformers cannot open it"):
        open_model(ModelName(str(gpt2)))


def test_tokens_that_the_model_cannot_read_are_named(tmp_path: Path) -> None:
    model = open_model(ModelName(str(make_gpt2(tmp_path / "gpt2", positions=16))))
    with pytest.raises(DataError, match="here: token 97, but the vocabulary"):
        model.check(np.array([[3, 97]]), "here")
    with pytest.raises(ParameterError, match="reads 16 tokens at most, not 17"):
        model.check(np.zeros((1, 17), np.int64), "here")


def test_models_and_revisions_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is fetched from a server that speaks the Hub's API; what it does not have is named."""
    directory = make_own(tmp_path / "model")
    prompt = prompts(2, 5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        files = {path.name: path.read_bytes() for path in directory.iterdir()}
        hub.repositories["suite/small"] = files | {"pytorch_model.bin": b"pickled"}
        hub.repositories["suite/gated"] = files
        hub.gated.add("suite/gated")
        found = open_model(ModelName("suite/small", "main")).greedy(prompt, 4)
        assert np.array_equal(found, open_model(ModelName(str(directory))).greedy(prompt, 4))
        assert model_identity(ModelName("suite/small")) == model_identity(ModelName(str(directory)))
        assert not hub.requests["GET", "pytorch_model.bin"]
        with pytest.raises(
            PileToolsError, match=r"suite/small: no revision 'step7' on the Hub; Pythia's are"
        ):
            open_model(ModelName("suite/small", "step7"))
        with pytest.raises(PileToolsError, match="suite/none: no such model on the Hub"):
            open_model(ModelName("suite/none"))
        with pytest.raises(PileToolsError, match="suite/gated: gated"):
            open_model(ModelName("suite/gated"))
    # Where nothing answers, what was fetched is still there, and the rest is not.
    use_as_hub(monkeypatch, Hub("http://127.0.0.1:9"))
    assert np.array_equal(found, open_model(ModelName("suite/small", "main")).greedy(prompt, 4))
    with pytest.raises(PileToolsError, match="the Hub cannot be reached"):
        open_model(ModelName("suite/none"))
