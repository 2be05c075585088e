"""``suites``, ``checkpoints``, ``fetch`` and ``batch --suite``, with the Hub that HF_ENDPOINT names."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools.stages.order.order import make_order
from tests.hub_server import Hub, publish, running_hub
from tests.suites.test_suite import MINE
from tests.token_data import SIZES, random_documents, save_tokenizer, write_dataset


def command(hub: Hub, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    script = "import sys; from pile_tools_cli.main import main; sys.argv[0] = 'pile-tools'; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"},
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()
    return done


def test_the_suites_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["suites"]) == 0
    out = capsys.readouterr().out
    assert "hf://datasets/EleutherAI/pile-deduped-pythia-preshuffled" in out
    assert "not known for certain: the size of the last shard" in out
    assert run(["suites", "--json"]) == 0
    names = [suite["name"] for suite in json.loads(capsys.readouterr().out)["suites"]]
    assert "pythia-deduped" in names


def test_checkpoints_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["checkpoints", "--suite", "pythia"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 155
    assert lines[-1].split() == ["step143000", "143,000", "146,432,000", "299,892,736,000"]
    assert run(["checkpoints", "--suite", "pythia-v0", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["checkpoints"][0] == {
        "branch": "step1000",
        "step": 500,
        "samples": 1_024_000,
        "tokens": 2_097_152_000,
    }
    assert run(["checkpoints", "--suite", "nothing"]) == 2
    assert "no suite 'nothing'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_suite_is_read_fetched_and_read_offline(tmp_path: Path) -> None:
    documents = random_documents(0, [5] * 24)
    data = write_dataset(tmp_path / "data", documents, shard_bytes=100).parent
    save_tokenizer(tmp_path / "tokenizer.json", 60_000)
    suite = tmp_path / "mine.json"
    with running_hub() as hub:
        publish(hub, data)
        hub.store = True
        hub.repositories["owner/tokenizer"] = {"tokenizer.json": (tmp_path / "tokenizer.json").read_bytes()}
        value: dict[str, Any] = json.loads(json.dumps(MINE | {"tokenizer": str(tmp_path / "tokenizer.json")}))
        value["dataset"]["location"] = "hf://datasets/owner/name"
        value["uncertain"] = ["whether this is so"]
        suite.write_text(json.dumps(value))
        out = tmp_path / "out.npy"
        done = command(hub, "batch", "--suite", suite, "--step", 9, "--format", "npy", "-o", out)
        np.testing.assert_array_equal(np.load(out), documents[18:20])
        assert b"found 24 sequences in 3 data files" in done.stderr
        assert b"not known for certain: whether this is so" in done.stderr
        cache = tmp_path / "cache"
        options = ["--cache", cache, "--cache-bytes", 10**6]
        command(hub, "fetch", "--suite", suite, "--steps", "8:11", "-o", tmp_path / "steps", *options)
        assert any(cache.rglob("*.block"))
        hub.gated.add("owner/name")
        error = command(hub, "batch", "--suite", suite, "--step", 9, "--format", "tokens", code=1).stderr
        assert b"gated; ask for access" in error.splitlines()[-1]
        both = ["--suite", suite, "--data", data]
        error = command(hub, "batch", *both, "--step", 9, "--format", "tokens", code=2).stderr
        assert b"--data and --suite name two streams" in error
    done = command(hub, "batch", "--data", tmp_path / "steps", "--step", 9, "--format", "json")
    rows = json.loads(done.stdout)
    assert [row["tokens"] for row in rows] == [document.tolist() for document in documents[18:20]]
    assert rows[0]["pieces"][0]["document"] is None
    text = command(hub, "batch", "--data", tmp_path / "steps", "--step", 9, "--row", 0).stdout
    assert b"where documents begin and end is not known" in text


def test_blends_and_splits_are_made_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (write_dataset(tmp_path / name, random_documents(0, SIZES)).parent for name in "ab")
    sizes = ["--seq-length", "8", "--batch-size", "4", "--steps", "5"]
    blend = ["order", "--data", str(one), "--weight", "0.7", "--data", str(two), "--weight", "0.3", *sizes]
    assert run(blend) == 2
    assert "a blend needs a directory of its own" in capsys.readouterr().err
    assert run([*blend, "-o", str(tmp_path / "c")]) == 0
    assert "weight 0.7 of ../a/document" in capsys.readouterr().out
    assert run([*blend, "-o", str(tmp_path / "c"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [part["weight"] for part in report["parts"]] == ["0.7", "0.3"]
    assert run(["batch", "--data", str(tmp_path / "c"), "--step", "4", "--format", "tokens"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert run([*blend, "-o", str(tmp_path / "d"), "--name", "x"]) == 2
    assert "--name has no effect here: a blend has none" in capsys.readouterr().err
    assert run([*blend, "-o", str(tmp_path / "d"), str(one)]) == 2
    assert "DATA has no effect here: a blend is of the datasets of --data" in capsys.readouterr().err
    assert (
        run(["order", str(one), *sizes, "--split", "7,2,1", "--part", "valid", "--recipe", "megatron-core"])
        == 0
    )
    assert "document_valid_indexmap_20ns_8sl_1234s" in capsys.readouterr().out
    assert run(["order", "--data", str(one), *sizes]) == 0
    assert run(["batch", "--data", str(one), "--step", "4", "--order", "valid", "--format", "tokens"]) == 0


def test_the_maps_of_a_suite_are_made_by_command(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent
    dataset = dict.fromkeys(MINE["dataset"]) | {"location": str(data)}
    order = {"recipe": "neox", "name": "train_0", "num_samples": 48, "seeds": {"0": 1234}}
    sizes = {"seq_length": 8, "batch_size": 4, "steps": 10}
    suite = tmp_path / "mine.json"
    suite.write_text(json.dumps(MINE | sizes | {"dataset": dataset, "order": order}))
    assert run(["order", "--suite", str(suite)]) == 2
    for idle in (
        ["--steps", "3"],
        ["--recipe", "neox"],
        ["--split", "1,1"],
        [str(data)],
        ["--data", str(data)],
    ):
        assert run(["order", "--suite", str(suite), "-o", str(tmp_path / "made"), *idle]) == 2
    for both in (["--data", str(data)], ["--part", "valid"]):
        assert run(["order", str(data), "--steps", "3", "--seq-length", "8", *both]) == 2
    assert run(["order", "--suite", str(suite), "-o", str(tmp_path / "made")]) == 0
    expected = make_order(data, num_samples=48, seed=1234, output=tmp_path / "other", **sizes).record
    for entry in expected.files:
        assert (tmp_path / "made" / entry.name).read_bytes() == (tmp_path / "other" / entry.name).read_bytes()
    made = ["--suite", str(suite), "--order", str(tmp_path / "made")]
    assert run(["batch", *made, "--step", "9", "--format", "tokens"]) == 0
