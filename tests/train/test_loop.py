"""The loop: resumed to the bit, judged by a plain loop over transformers' model, stopped by every fault."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pile_tools import BatchViewer
from pile_tools.errors import DataError, PileToolsError
from pile_tools.storage.manifest import Manifest
from pile_tools.train import load_model, read_metrics, train
from pile_tools.train.schedule import learning_rate
from tests.train.small import (
    BATCH_SIZE,
    RATE,
    SEQ_LENGTH,
    STEPS,
    begin,
    differing,
    losses,
    make_stream,
    resume,
)


def test_what_a_run_leaves(home: Path) -> None:
    run = home / "whole"
    names = sorted(path.name for path in run.iterdir())
    assert names == ["manifest.json", "metrics.jsonl", "step0", "step2", "step6", "step9"]
    last = read_metrics(run)[-1]
    assert list(last) == [
        *("step", "tokens", "loss", "lr", "grad_norm", "tokens_per_second", "data_share", "peak_share"),
    ]
    assert last["tokens"] == STEPS * BATCH_SIZE * SEQ_LENGTH
    assert last["lr"] == learning_rate(STEPS - 1, STEPS, RATE)
    assert 0 < last["peak_share"] < 1
    assert 0 <= last["data_share"] < 1
    assert losses(run)[-1] < losses(run)[0] - 0.3
    checkpoint = Manifest.read(run / "step9")
    assert checkpoint.counts == {"steps": 9, "samples": 54, "tokens": 1080}
    data = json.loads((run / "step9" / "data.json").read_text())
    assert data["stream"]["identity"] == BatchViewer.open(home / "data").identity
    assert [entry.name for entry in Manifest.read(run).outputs] == [
        f"step{step}/manifest.json" for step in (0, 2, 6, 9)
    ]


def test_steps_are_those_of_a_plain_loop_over_transformers(home: Path) -> None:
    """Same start, same batches, torch.optim.AdamW: the same losses, norms and weights."""
    viewer = BatchViewer.open(home / "data")
    model = AutoModelForCausalLM.from_pretrained(home / "whole" / "step0")
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-8)
    for line in read_metrics(home / "whole"):
        step = line["step"]
        tokens = torch.from_numpy(viewer.batch(step).astype("int64"))
        adam.zero_grad()
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert line["loss"] == pytest.approx(loss.item(), rel=2e-5)
        assert line["grad_norm"] == pytest.approx(norm.item(), rel=2e-4)
        for group in adam.param_groups:
            group["lr"] = learning_rate(step, STEPS, RATE)
        adam.step()
    # Not weight by weight: the keys' biases have no gradient but rounding, and Adam makes steps of it.
    ours, tokens = load_model(home / "whole" / f"step{STEPS}"), torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), model(tokens).logits, rtol=0, atol=1e-3)


def test_same_command_same_bits(home: Path) -> None:
    begin(home, "again")
    assert losses(home / "again") == losses(home / "whole")
    for step in (0, 2, 6, 9):
        assert differing(home / "again" / f"step{step}", home / "whole" / f"step{step}") == []
    assert (home / "again" / "manifest.json").read_bytes() == (home / "whole" / "manifest.json").read_bytes()


@pytest.mark.parametrize("stop", [0, 1, 6, 8])
def test_resumed_to_the_bit(home: Path, stop: int) -> None:
    name = f"stopped{stop}"
    outcome = begin(home, name, stop_at=stop)
    assert (outcome.steps_done, outcome.checkpoint) == (stop, home / name / f"step{stop}")
    assert not (home / name / "manifest.json").exists()
    resume(home, name)
    assert losses(home / name) == losses(home / "whole")
    assert differing(home / name / "step9", home / "whole" / "step9") == []


@pytest.mark.parametrize("asked", [0, 1, 5, 9])
def test_interrupted_inside_a_step(home: Path, asked: int) -> None:
    """A signal between micro-batches: the half of a step is dropped, and made again after the resume."""
    calls = iter(range(1000))
    name = f"interrupted{asked}"
    outcome = begin(home, name, should_stop=lambda: next(calls) >= asked)
    assert outcome.interrupted
    assert outcome.steps_done < STEPS
    resume(home, name)
    assert losses(home / name) == losses(home / "whole")
    assert differing(home / name / "step9", home / "whole" / "step9") == []


def test_killed_between_checkpoints(home: Path) -> None:
    """No time for a checkpoint: the run goes on from the last, and no step is in the metrics twice."""

    def die(line: Any) -> None:
        if line["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin(home, "killed", on_step=die)
    with (home / "killed" / "metrics.jsonl").open("a") as file:
        file.write('{"step":5,"lo')
    outcome = resume(home, "killed")
    assert outcome.steps_done == STEPS
    assert losses(home / "killed") == losses(home / "whole")
    assert differing(home / "killed" / "step9", home / "whole" / "step9") == []


@pytest.mark.parametrize("micro", [1, 5, 100])
def test_any_micro_batch_size_gives_the_same_training(home: Path, micro: int) -> None:
    name = f"micro{micro}"
    begin(home, name, micro_batch_size=micro, activation_checkpointing=micro == 5)
    assert losses(home / name) == pytest.approx(losses(home / "whole"), rel=1e-5)
    one, two = (home / run / "step9" / "data.json" for run in (name, "whole"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits(home: Path, dtype: str) -> None:
    begin(home, f"{dtype}-whole", dtype=dtype)
    begin(home, dtype, dtype=dtype, stop_at=4)
    resume(home, dtype)
    assert losses(home / dtype) == losses(home / f"{dtype}-whole")
    assert differing(home / dtype / "step9", home / f"{dtype}-whole" / "step9") == []
    assert losses(home / dtype) == pytest.approx(losses(home / "whole"), rel=0.02)
    line = read_metrics(home / dtype)[-1]
    assert (line.get("loss_scale"), line.get("skipped")) == (
        (256, False) if dtype == "float16" else (None, None)
    )


def test_loss_scale_falls_where_float16_overflows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pile_tools.train.setup._FIRST_SCALE", 30)
    begin(home, "scaled", dtype="float16", steps=9, stop_at=2)
    lines = read_metrics(home / "scaled")
    assert [(line["loss_scale"], line["skipped"], line["grad_norm"]) for line in lines] == [
        (2**30, True, None),
        (2**29, True, None),
    ]
    # A skipped step is read and recorded, but changes no weight.
    weights = [(home / "scaled" / f"step{step}" / "model.safetensors").read_bytes() for step in (0, 2)]
    assert weights[0] == weights[1]


def test_resumed_to_the_bit_where_the_loss_scale_has_fallen_to_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pile_tools.train.setup._FIRST_SCALE", 0)
        begin(home, "scale1-whole", dtype="float16")
        begin(home, "scale1", dtype="float16", stop_at=0)
    resume(home, "scale1")
    assert [line["loss_scale"] for line in read_metrics(home / "scale1")] == [1] * STEPS
    assert differing(home / "scale1" / "step9", home / "scale1-whole" / "step9") == []


def test_a_fork_in_another_dtype_begins_with_its_loss_scale(home: Path) -> None:
    begin(home, "wide", source=home / "whole" / "step6", dtype="float16")
    assert read_metrics(home / "wide")[0]["loss_scale"] == 256
    begin(home, "back", source=home / "wide" / "step9", dtype="float32", steps=11)
    assert json.loads((home / "back" / "step11" / "optimizer.json").read_text())["loss_scale"] == [0, 0]


@pytest.mark.filterwarnings("ignore")  # of tracing itself
@pytest.mark.slow
def test_compiled_layers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as for the compiler, and run without it: making machine code takes it half a minute."""
    compiler = torch.compile

    def traced(function: Any, *, dynamic: bool, options: dict[str, bool]) -> Any:
        assert options == {"deterministic": True}
        return compiler(function, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(torch, "compile", traced)
    begin(home, "compiled", compile_layers=True, stop_at=2)
    assert losses(home / "compiled") == pytest.approx(losses(home / "whole")[:2], rel=1e-5)
    monkeypatch.setattr("torch._inductor.list_options", lambda: ["max_autotune"])
    with pytest.raises(PileToolsError, match="cannot be held to the same bits"):
        begin(home, "older", compile_layers=True)
    names = {path.name for path in (home / "compiled" / "step2").iterdir()}
    assert load_model(home / "compiled" / "step2").vocab == 97
    assert names == {path.name for path in (home / "whole" / "step2").iterdir()}


def test_a_token_outside_the_vocabulary(home: Path, tmp_path: Path) -> None:
    viewer = make_stream(tmp_path / "data", first=200)
    with pytest.raises(DataError, match=r"step \d+ has token 200, but the model's vocabulary is 97"):
        train(viewer, tmp_path / "run", model=str(home / "model"), learning_rate=RATE, device="cpu")


def test_a_loss_that_is_not_finite_stops_the_run(home: Path) -> None:
    message = "step 1: the loss is nan, so training stops; the last checkpoint, step1, is intact"
    with pytest.raises(PileToolsError, match=message):
        begin(home, "diverged", learning_rate=1e30, schedule="0,1")
    assert [path.name for path in sorted((home / "diverged").glob("step*"))] == ["step0", "step1"]
    assert [line["step"] for line in read_metrics(home / "diverged")] == [0]
