"""Models as directories that transformers opens: ``config.json`` and ``model.safetensors``."""

import json
import os
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.formats.atomic import atomic_write
from pile_tools.formats.hub_downloads import downloaded
from pile_tools.formats.hub_ids import split_hub_id
from pile_tools.formats.names import name_problem, path_inside
from pile_tools.train.files import CONFIG_NAME, WEIGHTS_NAME, prove_files
from pile_tools.train.model import GPTNeoX

__all__ = ["load_model", "load_weights", "model_from_config", "save_model", "save_tensors"]

_INDEX_NAME: Final = "model.safetensors.index.json"
# What this model does; a config that says otherwise describes another model. Absent keys have these values.
_FIXED: Final = {
    "model_type": "gpt_neox",
    "hidden_act": "gelu",
    "use_parallel_residual": True,
    "tie_word_embeddings": False,
    "attention_bias": True,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "rope_scaling": None,
}
# Buffers of old checkpoints, which the code that wrote them computed from the config.
_BUFFERS: Final = ("attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq")


def _config(model: GPTNeoX) -> dict[str, Any]:
    return _FIXED | {
        "architectures": ["GPTNeoXForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 0,
        "hidden_size": model.width,
        "initializer_range": 0.02,
        "intermediate_size": model.inner,
        "layer_norm_eps": model.eps,
        "max_position_embeddings": model.max_positions,
        "num_attention_heads": model.heads,
        "num_hidden_layers": model.n_layers,
        "rotary_emb_base": model.rotary_base,
        "rotary_pct": model.rotary_share,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": model.vocab,
    }


def model_from_config(path: Path) -> GPTNeoX:
    """Make the model that the ``config.json`` at ``path`` describes, its weights not yet set.

    Raises DataError, with the file, key and value, for anything but a GPT-NeoX of Pythia's kind.
    """
    try:
        config = json.loads(path.read_bytes())
        rope = config.get("rope_parameters") or {}
        found = {key: config.get(key, value) for key, value in _FIXED.items() if key != "model_type"}
        found |= {"model_type": config.get("model_type"), "rope_type": rope.get("rope_type", "default")}
        for key, value in (_FIXED | {"rope_type": "default"}).items():
            if found[key] != value:
                raise DataError(
                    f"{path}: {key} is {found[key]!r}; pile-tools trains GPT-NeoX with {value!r} only"
                )
        return GPTNeoX(
            layers=int(config["num_hidden_layers"]),
            width=int(config["hidden_size"]),
            heads=int(config["num_attention_heads"]),
            vocab=int(config["vocab_size"]),
            inner=int(config["intermediate_size"]),
            max_positions=int(config.get("max_position_embeddings", 2048)),
            rotary_share=float(rope.get("partial_rotary_factor", config.get("rotary_pct", 0.25))),
            rotary_base=float(rope.get("rope_theta", config.get("rotary_emb_base", 10_000))),
            eps=float(config.get("layer_norm_eps", 1e-5)),
        )
    except FileNotFoundError:
        raise PileToolsError(f"{path}: no such file; name a directory that transformers can open") from None
    except ParameterError as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a model's config ({type(error).__name__}: {error})") from None


def save_model(model: GPTNeoX, directory: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` (float32) into ``directory``."""
    with atomic_write(directory / CONFIG_NAME) as file:
        file.write(json.dumps(_config(model), indent=2, sort_keys=True).encode() + b"\n")
    save_tensors(model.state_dict(), directory / WEIGHTS_NAME)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file, the same bytes for the same tensors. OSError for a full disk."""
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        # One key only: the order of several in the header is not fixed.
        save_file(own, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(getattr(error, "errno", None) or 0, str(error), str(path)) from None


def load_model(
    location: str | os.PathLike[str], *, revision: str | None = None, dtype: torch.dtype = torch.float32
) -> GPTNeoX:
    """Load a GPT-NeoX model from a directory or from the Hub; on the CPU, in evaluation mode.

    ``location`` is a directory with ``config.json`` and safetensors, ours or transformers', whole or in
    shards, or a Hub id such as ``EleutherAI/pythia-70m``, then with a ``revision`` such as ``step512``.
    Weights of any float type become ``dtype``. Raises PileToolsError for what is not there or cannot be
    reached, and DataError for files that are damaged or not a GPT-NeoX of Pythia's kind. Pickled weights
    (``pytorch_model.bin``) are never opened.
    """
    directory = Path(location)
    if not directory.is_dir():
        directory = _download(os.fspath(location), revision)
    elif revision is not None:
        raise ParameterError(f"{directory}: a directory has no revision {revision!r}; leave it out")
    prove_files(directory, CONFIG_NAME)
    with torch.device("meta"):
        model = model_from_config(directory / CONFIG_NAME)
    prove_files(directory, *(path.name for path in _weight_files(directory)))
    model.to_empty(device="cpu")
    load_weights(model, directory)
    return model.to(dtype).eval()


def load_weights(model: GPTNeoX, directory: Path) -> None:
    """Fill the parameters of ``model`` from the safetensors in ``directory``: every one, and no others."""
    parameters = dict(model.named_parameters())
    missing = set(parameters)
    for path in _weight_files(directory):
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - not a mapping
                    own = _own_name(name)
                    if own.endswith(_BUFFERS):
                        continue
                    if own not in missing:
                        raise DataError(f"{path}: holds {name}, which the model in config.json has not")
                    tensor = file.get_tensor(name)
                    if tensor.shape != parameters[own].shape:
                        raise DataError(
                            f"{path}: {name} has shape {list(tensor.shape)}, "
                            f"but config.json says {list(parameters[own].shape)}"
                        )
                    if not tensor.is_floating_point():
                        raise DataError(f"{path}: {name} holds {tensor.dtype}, not floats")
                    with torch.no_grad():
                        parameters[own].copy_(tensor)
                    missing.remove(own)
        except SafetensorError as error:
            raise DataError(f"{path}: damaged ({error}); fetch or make it again") from None
    if missing:
        raise DataError(f"{directory}: no weights for {min(missing)} ({len(missing)} missing in all)")


def _own_name(name: str) -> str:
    return name.replace("lm_head.", "embed_out.", 1) if name.startswith("lm_head.") else name


def _weight_files(directory: Path) -> list[Path]:
    index = directory / _INDEX_NAME
    if (directory / WEIGHTS_NAME).is_file():
        return [directory / WEIGHTS_NAME]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{index}: not an index of safetensors shards") from None
        for name in names:
            if name_problem(name, nested=False) is not None or not path_inside(directory, name).is_file():
                raise DataError(f"{index}: names the shard {name!r}, which is not in {directory}")
        return [directory / name for name in names]
    other = next(iter(sorted(path.name for path in directory.glob("*.bin"))), None)
    if other is not None:
        raise PileToolsError(
            f"{directory / other}: pickled weights, which can run code, are not opened; "
            "save the model as safetensors first"
        )
    raise PileToolsError(
        f"{directory / WEIGHTS_NAME}: no such file; name a directory that transformers can open"
    )


def _download(name: str, revision: str | None) -> Path:
    """Fetch config and safetensors of a Hub model into the Hub's own cache and return their directory."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    where = name if revision is None else f"{name}, revision {revision}"
    split_hub_id(name if revision is None else f"{name}@{revision}", "directory")
    patterns = [CONFIG_NAME, WEIGHTS_NAME, _INDEX_NAME, "model-*-of-*.safetensors"]
    try:
        return downloaded(where, lambda: snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PileToolsError(
            f"{where}: cannot be fetched from the Hub ({type(error).__name__}: {reason}), and there is no "
            "such directory here"
        ) from None
