"""Model directories: transformers writes what we read and reads what we write."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from pile_tools.errors import DataError, ParameterError, PileToolsError
from pile_tools.storage.manifest import sha256_file
from pile_tools.train import load_model, save_model
from tests.train.small import SHAPE, random_model

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(random_model(**SHAPE), tmp_path)
    return tmp_path


def edit(path: Path, **changes: Any) -> None:
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


@torch.no_grad()
def test_ours_opens_in_transformers(saved: Path) -> None:
    other = AutoModelForCausalLM.from_pretrained(saved, dtype="auto")
    assert isinstance(other, GPTNeoXForCausalLM)
    assert other.dtype == torch.float32
    torch.testing.assert_close(other(TOKENS).logits, random_model(**SHAPE)(TOKENS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shard", ["1GB", "20KB"])
@torch.no_grad()
def test_transformers_opens_in_ours(tmp_path: Path, shard: str) -> None:
    torch.manual_seed(3)
    config = GPTNeoXConfig(
        vocab_size=61,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        rotary_pct=0.5,
        rotary_emb_base=500,
        initializer_range=0.3,
    )
    other = GPTNeoXForCausalLM(config)
    other.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors").exists() == (shard == "1GB")
    model = load_model(tmp_path)
    assert not model.training
    torch.testing.assert_close(model(TOKENS), other(TOKENS).logits, rtol=0, atol=1e-5)


def test_the_form_of_published_checkpoints(saved: Path) -> None:
    """Half precision, buffers beside the weights, and few keys in config.json."""
    weights = {name: value.half() for name, value in load_file(saved / "model.safetensors").items()}
    layer = "gpt_neox.layers.0.attention"
    extra = {f"{layer}.bias": torch.ones(4, 4), f"{layer}.masked_bias": torch.tensor(-1e9)}
    extra[f"{layer}.rotary_emb.inv_freq"] = torch.ones(2)
    save_file(weights | extra, saved / "model.safetensors")
    edit(saved / "config.json", attention_bias="absent", hidden_dropout="absent", rope_scaling="absent")
    model = load_model(saved)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert torch.equal(model.state_dict()["embed_out.weight"], weights["embed_out.weight"].float())


def test_saving_again_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_model(load_model(saved), again)
    for name in ("config.json", "model.safetensors"):
        assert sha256_file(again / name) == sha256_file(saved / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"model_type": "absent"}, "model_type is None"),
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'"),
        ({"use_parallel_residual": False}, "use_parallel_residual is False"),
        ({"attention_bias": False}, "attention_bias is False"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"hidden_dropout": 0.1}, "hidden_dropout is 0.1"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type is 'yarn'"),
        ({"num_attention_heads": 5}, "whole number of dimensions"),
        ({"hidden_size": "absent"}, "KeyError: 'hidden_size'"),
        ({"vocab_size": "many"}, "not a model's config"),
        ({"vocab_size": 98}, "embed_out.weight has shape"),
        ({"num_hidden_layers": 3}, "no weights for gpt_neox.layers.2"),
        ({"num_hidden_layers": 1}, "which the model in config.json has not"),
    ],
)
def test_configs_of_other_models_are_refused(saved: Path, changes: dict[str, Any], message: str) -> None:
    edit(saved / "config.json", **changes)
    with pytest.raises(DataError, match=message):
        load_model(saved)


def test_damaged_and_missing_files(saved: Path, tmp_path: Path) -> None:
    weights = saved / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"model\.safetensors: damaged"):
        load_model(saved)
    integers = load_file_with(content, tmp_path) | {"embed_out.weight": torch.ones(97, 32, dtype=torch.int64)}
    save_file(integers, weights)
    with pytest.raises(DataError, match=r"embed_out\.weight holds torch\.int64"):
        load_model(saved)
    index = saved / "model.safetensors.index.json"
    weights.unlink()
    index.write_text(json.dumps({"weight_map": {"embed_out.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(DataError, match="names the shard"):
        load_model(saved)
    index.write_text("[]")
    with pytest.raises(DataError, match="not an index"):
        load_model(saved)
    index.unlink()
    with pytest.raises(PileToolsError, match=r"model\.safetensors: no such file"):
        load_model(saved)
    (saved / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(PileToolsError, match="pickled weights"):
        load_model(saved)
    (saved / "config.json").unlink()
    with pytest.raises(PileToolsError, match=r"config\.json: no such file"):
        load_model(saved)


def load_file_with(content: bytes, directory: Path) -> dict[str, torch.Tensor]:
    path = directory / "whole.safetensors"
    path.write_bytes(content)
    return load_file(path)


def test_names_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(PileToolsError, match="neither a directory nor a Hub id"):
        load_model("./nothing/here")
    with pytest.raises(ParameterError, match="has no revision"):
        load_model(tmp_path, revision="step1")


class Hub(BaseHTTPRequestHandler):
    """One model, ``suite/small``, at the revision ``step2``, as the Hub's API serves it."""

    directory: Path
    requests: list[str]
    COMMIT = "a" * 40

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        self.requests.append(f"{self.command} {self.path}")
        parts = self.path.split("?")[0].strip("/").split("/")
        model, names = (
            ["api", "models", "suite", "small"],
            sorted(path.name for path in self.directory.iterdir()),
        )
        if parts[:5] == [*model, "tree"]:
            sizes = [(name, (self.directory / name).stat().st_size) for name in names]
            tree = [{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes]
            self.reply(json.dumps(tree).encode())
        elif parts[:5] == [*model, "revision"] and parts[-1] == "step2":
            files = [{"rfilename": name} for name in [*names, "pytorch_model.bin"]]
            self.reply(json.dumps({"id": "suite/small", "sha": self.COMMIT, "siblings": files}).encode())
        elif parts[:3] == ["suite", "small", "resolve"] and (self.directory / parts[-1]).is_file():
            self.reply((self.directory / parts[-1]).read_bytes(), etag=parts[-1], body=body)
        else:
            code = "RevisionNotFound" if "small" in self.path else "RepoNotFound"
            self.reply(b"{}", status=404, code=code)

    def reply(
        self, content: bytes, *, status: int = 200, etag: str = "x", body: bool = True, code: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", self.COMMIT)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(saved: Path) -> Iterator[tuple[str, list[str]]]:
    requests: list[str] = []
    handler = type("BoundHub", (Hub,), {"directory": saved, "requests": requests})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


CALL = """
import sys, torch
from pile_tools.errors import PileToolsError
from pile_tools.train import load_model
for name in sys.argv[1:]:
    try:
        repository, revision = name.split("@")
        model = load_model(repository, revision=revision)
        print(model(torch.tensor([[3, 1, 4]]))[0, -1, 0].item())
    except PileToolsError as error:
        print(type(error).__name__, error)
"""


def call(endpoint: str, cache: Path, *arguments: str) -> list[str]:
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "PATH": ""}
    command = [sys.executable, "-c", CALL, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_hub_id_with_revision(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, requests = hub
    with torch.no_grad():
        expected = random_model(**SHAPE)(torch.tensor([[3, 1, 4]]))[0, -1, 0].item()
    names = ("suite/small@step2", "suite/small@step3", "suite/large@main")
    lines = call(endpoint, tmp_path / "cache", *names)
    assert float(lines[0]) == pytest.approx(expected, abs=1e-6)
    assert lines[1].startswith("RemoteError suite/small, revision step3: cannot be fetched from the Hub")
    assert not any("pytorch_model.bin" in request for request in requests)
    assert lines[2].startswith("RemoteError suite/large")
