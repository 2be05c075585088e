"""Causal language models to be asked questions: GPT-NeoX by our own code, any other by transformers."""

import inspect
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from pile_tools.errors import DataError, ParameterError, PileToolsError, needs_extra
from pile_tools.formats.hub_downloads import downloaded
from pile_tools.formats.hub_ids import split_hub_id
from pile_tools.formats.manifest import sha256_file
from pile_tools.studies.greedy import greedy_continuation
from pile_tools.studies.model_name import ModelName
from pile_tools.train.files import CONFIG_NAME
from pile_tools.train.model import GPTNeoX
from pile_tools.train.weights import load_model

__all__ = ["CausalModel", "model_identity", "open_model"]

_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Rows of logits that exist at a time when losses are taken; [1024, 50304] in float32 is 206 MB.
_CHUNK_ROWS: Final = 1024


class _Network(Protocol):
    def continue_greedily(self, prompt: Tensor, length: int) -> Tensor: ...

    def hidden(self, tokens: Tensor) -> Tensor: ...

    def logits(self, hidden: Tensor) -> Tensor: ...


class _Own:
    """A GPT-NeoX of Pythia's kind."""

    def __init__(self, model: GPTNeoX) -> None:
        self.model, self.vocab, self.positions = model, model.vocab, model.max_positions

    def continue_greedily(self, prompt: Tensor, length: int) -> Tensor:
        return greedy_continuation(self.model, prompt, length)

    def hidden(self, tokens: Tensor) -> Tensor:
        return self.model.hidden(tokens, self.model.embed_out.weight.dtype)

    def logits(self, hidden: Tensor) -> Tensor:
        return self.model.embed_out(hidden)  # type: ignore[no-any-return]


class _Transformers:
    """Any causal model of transformers, its own cache and all."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.vocab = int(model.get_input_embeddings().weight.shape[0])
        self.positions: int | None = getattr(model.config, "max_position_embeddings", None)
        self._cache_name = _cache_name(model.forward)

    def continue_greedily(self, prompt: Tensor, length: int) -> Tensor:
        out = prompt.new_empty(len(prompt), length)
        tokens, cache, name = prompt, None, self._cache_name
        for step in range(length):
            options = {} if name is None else {name: cache}
            output = self.model(input_ids=tokens, use_cache=name is not None, **options)
            out[:, step] = output.logits[:, -1].argmax(dim=-1)
            tokens = out[:, step : step + 1]
            cache = None if name is None else getattr(output, name, None)
            if cache is None and step + 1 < length:  # a model without a cache reads all again
                tokens = torch.cat((prompt, out[:, : step + 1]), dim=1)
        return out

    def hidden(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, use_cache=False).logits  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def _cache_name(forward: Callable[..., Any]) -> str | None:
    """Return the parameter by which ``forward`` takes its cache, None where it names no such parameter.

    A name that it does not declare may vanish in its ``**kwargs``, and with it all that was read before.
    """
    parameters = inspect.signature(forward).parameters
    # transformers 5.24 renames the second to the first.
    return next((name for name in ("cache", "past_key_values") if name in parameters), None)


@dataclass(frozen=True, slots=True)
class CausalModel:
    """A model in evaluation mode. ``name`` as it was given; ``vocab`` the ids that it knows; ``positions``
    the tokens that it can read, None where that is not said."""

    name: ModelName
    vocab: int
    positions: int | None
    device: torch.device
    _network: _Network

    def check(self, tokens: npt.NDArray[Any], where: str) -> None:
        """Raise DataError where ``tokens`` [b, t] hold an id that the model does not know."""
        self.check_length(tokens.shape[1])
        largest = int(tokens.max(initial=0))
        if largest >= self.vocab:
            raise DataError(
                f"{where}: token {largest}, but the vocabulary of {self.name} has {self.vocab} ids; "
                "name a model that was trained with this dataset's tokenizer"
            )

    def check_length(self, tokens: int) -> None:
        """Raise ParameterError where sequences of ``tokens`` are longer than the model can read."""
        if self.positions is not None and tokens > self.positions:
            raise ParameterError(f"{self.name}: reads {self.positions} tokens at most, not {tokens}")

    @torch.inference_mode()
    def greedy(self, prompts: npt.NDArray[Any], length: int) -> npt.NDArray[np.int64]:
        """Return the greedy continuations of ``prompts`` [b, k]: int64 [b, length]."""
        prompt = self._tensor(prompts)
        found: npt.NDArray[np.int64] = self._network.continue_greedily(prompt, length).cpu().numpy()
        return found

    @torch.inference_mode()
    def token_losses(self, sequences: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return −log p of each token of ``sequences`` [b, t + 1] but the first, in nats: float32 [b, t]."""
        tokens = self._tensor(sequences)
        hidden = self._network.hidden(tokens[:, :-1]).flatten(0, 1)
        labels = tokens[:, 1:].flatten()
        parts = [
            F.cross_entropy(
                self._network.logits(hidden[start : start + _CHUNK_ROWS]).float(),
                labels[start : start + _CHUNK_ROWS],
                reduction="none",
            )
            for start in range(0, len(hidden), _CHUNK_ROWS)
        ]
        losses: npt.NDArray[np.float32] = torch.cat(parts).view(len(tokens), -1).cpu().numpy()
        if not np.isfinite(losses).all():
            raise PileToolsError(f"{self.name}: a loss that is not finite; try --dtype float32")
        return losses

    def _tensor(self, tokens: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(tokens.astype(np.int64)).to(self.device)


def open_model(
    name: ModelName, *, device: str = "auto", dtype: str = "float32", worker: int = 0
) -> CausalModel:
    """Load a causal language model, in evaluation mode.

    A GPT-NeoX of Pythia's kind needs no transformers; any other is opened by it, from safetensors and
    without code of the repository. ``device`` is "auto", "cpu", "cuda" or "cuda:N"; with several GPUs
    "auto" and "cuda" take number ``worker`` of them, in turn. Raises PileToolsError for a model or revision
    that is not there and DataError for one that is damaged.
    """
    if dtype not in _DTYPES:
        raise ParameterError(f"dtype {dtype!r} is none of {', '.join(_DTYPES)}")
    where = _device(device, worker)
    directory = _directory(name)
    own = _is_pythias(directory / CONFIG_NAME)
    network: _Own | _Transformers
    if own:
        network = _Own(load_model(directory, dtype=_DTYPES[dtype]).to(where))
    else:
        network = _Transformers(_open_by_transformers(directory, name, _DTYPES[dtype]).to(where).eval())
    network.model.requires_grad_(False)
    return CausalModel(name, network.vocab, network.positions, where, network)


def _device(device: str, worker: int) -> torch.device:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ParameterError(f"device {device!r}: no GPU that PyTorch can use; leave --device out")
    if device == "cuda":
        device = f"cuda:{worker % torch.cuda.device_count()}"
    try:
        return torch.device(device)
    except RuntimeError:
        raise ParameterError(f"device {device!r} is none of auto, cpu, cuda, cuda:N") from None


def _directory(name: ModelName) -> Path:
    """Return the model's directory here, fetched from the Hub into its cache where it must be."""
    directory = Path(name.location)
    if directory.is_dir():
        if name.revision is not None:
            raise ParameterError(f"{directory}: a directory has no revision {name.revision!r}; leave it out")
        return directory
    split_hub_id(str(name), "directory")  # raises for what can only be a path
    return _fetch(name)


def _fetch(name: ModelName) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt"]
    try:
        return downloaded(
            str(name),
            lambda: snapshot_download(name.location, revision=name.revision, allow_patterns=patterns),
        )
    except RevisionNotFoundError:
        raise PileToolsError(
            f"{name.location}: no revision {name.revision!r} on the Hub; Pythia's are step0 to step143000 "
            "(`pile-tools checkpoints` lists a suite's)"
        ) from None
    except GatedRepoError:
        raise PileToolsError(
            f"{name.location}: gated; ask for access on the Hub and log in with `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise PileToolsError(
            f"{name.location}: no such model on the Hub, and no such directory here"
        ) from None
    except LocalEntryNotFoundError:
        raise PileToolsError(
            f"{name}: the Hub cannot be reached and its cache does not hold this model, and there is no such "
            "directory here; "
            "fetch it where there is a network and give its directory"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise PileToolsError(
            f"{name}: cannot be fetched from the Hub ({reason}), and there is no such directory here"
        ) from None


def _is_pythias(config: Path) -> bool:
    """Whether ``config.json`` is of a model that ``pile_tools.train`` opens."""
    from pile_tools.train.weights import model_from_config

    try:
        kind = json.loads(config.read_bytes()).get("model_type")
    except FileNotFoundError:
        raise PileToolsError(f"{config}: no such file, so no model is in this directory") from None
    except (ValueError, AttributeError):
        raise DataError(f"{config}: not a model's config") from None
    if kind != "gpt_neox":
        return False
    try:
        with torch.device("meta"):
            model_from_config(config)
    except DataError:
        return False  # a GPT-NeoX of another kind: transformers knows them all
    return True


def _open_by_transformers(directory: Path, name: ModelName, dtype: torch.dtype) -> Any:
    with needs_extra(f"{name}, which is not a GPT-NeoX of Pythia's kind,"):
        import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return transformers.AutoModelForCausalLM.from_pretrained(
            os.fspath(directory), dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{name}: transformers cannot open it as a causal model ({reason})") from None


def model_identity(name: ModelName) -> str:
    """Return what names the weights by content, 64 hexadecimal digits.

    It is the SHA-256 of ``model.safetensors``, or of the SHA-256s of its shards, one after the other.
    """
    digests = [sha256_file(path) for path in sorted(_directory(name).glob("model*.safetensors"))]
    if not digests:
        raise PileToolsError(f"{name}: no model.safetensors; name a directory that transformers can open")
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()
