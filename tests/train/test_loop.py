"""The loop: resumed to the bit, judged by a plain loop over transformers' model, stopped by every fault."""

import filecmp
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from pile_tools import BatchViewer
from pile_tools.errors import DataError, OutOfRangeError, ParameterError, PileToolsError, UnfinishedError
from pile_tools.storage.manifest import Manifest
from pile_tools.train import Outcome, load_model, read_metrics, train
from pile_tools.train.schedule import learning_rate
from pile_tools.train.setup import machine_settings
from tests.train.small import BATCH_SIZE, SEQ_LENGTH, make_stream, write_config

STEPS = 9
RATE = 0.01


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream ``data``, a ``config.json``, and the run ``whole`` on it that nothing interrupted."""
    directory = tmp_path_factory.mktemp("loop")
    make_stream(directory / "data")
    write_config(directory / "model")
    begin(directory, "whole")
    return directory


def begin(home: Path, name: str, **settings: Any) -> Outcome:
    viewer = BatchViewer.open(home / "data", batch_size=settings.pop("batch_size", None))
    known: dict[str, Any] = {"steps": STEPS, "learning_rate": RATE, "micro_batch_size": 4}
    known |= {"model": str(home / "model"), "schedule": "0,2,6", "device": "cpu"}
    return train(viewer, home / name, **{**known, **settings})


def resume(home: Path, name: str, **settings: Any) -> Outcome:
    viewer = BatchViewer.open(home / "data")
    return train(viewer, home / name, resume=True, **{"micro_batch_size": 4, "device": "cpu", **settings})


def losses(run: Path) -> list[float]:
    lines = read_metrics(run)
    assert [line["step"] for line in lines] == list(range(len(lines)))
    return [line["loss"] for line in lines]


def differing(one: Path, two: Path) -> list[str]:
    """Names of files that differ between two directories, or are in one of them only."""
    names = {path.name for path in [*one.iterdir(), *two.iterdir()]}
    _, mismatch, errors = filecmp.cmpfiles(one, two, sorted(names), shallow=False)
    return mismatch + errors


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


def test_resume_computes_as_before_unless_told(home: Path) -> None:
    """What can change roundings is the checkpoint's, so that the bits are those of the uninterrupted run."""
    settings: dict[str, Any] = {"micro_batch_size": 5, "activation_checkpointing": True}
    begin(home, "kept-whole", **settings)
    begin(home, "kept", stop_at=4, **settings)
    resume(home, "kept", micro_batch_size=None)
    assert losses(home / "kept") == losses(home / "kept-whole")
    assert differing(home / "kept" / "step9", home / "kept-whole" / "step9") == []
    begin(home, "told", stop_at=4, **settings)
    resume(home, "told", micro_batch_size=3, activation_checkpointing=False)
    machine = Manifest.read(home / "told" / "step9").parameters["machine"]
    assert (machine["micro_batch_size"], machine["activation_checkpointing"]) == (3, False)
    # A fork is another run: it takes nothing of this.
    train(BatchViewer.open(home / "data"), home / "kept-fork", source=home / "kept" / "step4", device="cpu")
    machine = Manifest.read(home / "kept-fork" / "step9").parameters["machine"]
    assert (machine["micro_batch_size"], machine["activation_checkpointing"]) == (8, False)


@pytest.mark.parametrize(("given", "expected"), [(None, True), (False, False), (True, True)])
def test_a_compiled_run_is_resumed_compiled(given: bool | None, expected: bool) -> None:
    recorded = {"device": "cpu", "micro_batch_size": 2, "compile": True, "activation_checkpointing": False}
    asked = {"micro_batch_size": None, "compile": given, "activation_checkpointing": None}
    assert machine_settings(asked, recorded) == {
        "micro_batch_size": 2,
        "compile": expected,
        "activation_checkpointing": False,
    }


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


def test_fork_goes_on_with_another_stream(home: Path) -> None:
    make_stream(home / "other", seed=1)
    other = BatchViewer.open(home / "other")
    source = home / "whole" / "step6"
    train(other, home / "fork", source=source, stop_at=7, micro_batch_size=4, device="cpu")
    assert [path.name for path in sorted((home / "fork").glob("step*"))] == ["step6", "step7"]
    assert differing(home / "fork" / "step6", source) == ["data.json", "manifest.json", "parents"]
    outcome = train(other, home / "fork", resume=True, micro_batch_size=4, device="cpu")
    assert (outcome.steps_done, outcome.tokens) == (STEPS, STEPS * BATCH_SIZE * SEQ_LENGTH)
    assert [line["step"] for line in read_metrics(home / "fork")] == [6, 7, 8]
    lineage = json.loads((home / "fork" / "step9" / "data.json").read_text())["lineage"]
    assert [(part["first_step"], part["last_step"], part["parent"]) for part in lineage] == [
        (0, 6, None),
        (6, 9, Manifest.read(source).identity),
    ]
    assert lineage[1]["stream"]["identity"] == other.identity
    # On the same stream a fork is the run itself.
    train(BatchViewer.open(home / "data"), home / "same", source=source, micro_batch_size=4, device="cpu")
    assert differing(home / "same" / "step9", home / "whole" / "step9") == [
        "data.json",
        "manifest.json",
        "parents",
    ]


def test_fork_may_change_all_but_the_model(home: Path) -> None:
    source = home / "whole" / "step6"
    with pytest.raises(PileToolsError, match="step6: model"):
        begin(home, "bad-fork", source=source, model="14m", learning_rate=None)
    with pytest.raises(ParameterError, match="6 steps are done, of 5"):
        begin(home, "bad-fork", source=source, steps=5)
    with pytest.raises(ParameterError, match="to resume a fork leave --from out"):
        begin(home, "bad-fork", source=source, resume=True)
    with pytest.raises(PileToolsError, match="no checkpoint of `pile-tools train`"):
        begin(home, "bad-fork", source=home / "model")
    outcome = begin(home, "longer", source=source, steps=11, learning_rate=1e-4, dtype="bfloat16", seed=3)
    assert outcome.steps_done == 11
    assert read_metrics(home / "longer")[0]["lr"] == learning_rate(6, 11, 1e-4)


def test_resume_refuses_another_stream_and_recipe(home: Path) -> None:
    begin(home, "refusing", stop_at=2)
    make_stream(home / "elsewhere", seed=5)
    with pytest.raises(DataError, match=r"step2: was trained on another stream: datasets .*, now .*--from"):
        train(BatchViewer.open(home / "elsewhere"), home / "refusing", resume=True)
    with pytest.raises(DataError, match="batch_size 6, now 3"):
        train(BatchViewer.open(home / "data", batch_size=3), home / "refusing", resume=True)
    for key, value in {"steps": 8, "learning_rate": 0.02, "seed": 5, "dtype": "bfloat16"}.items():
        with pytest.raises(PileToolsError, match=f"step2: {key} .*, now {value}"):
            resume(home, "refusing", **{key: value})
    with pytest.raises(PileToolsError, match="an unfinished run, at step2; go on with --resume"):
        begin(home, "refusing")
    with pytest.raises(PileToolsError, match="no run to resume"):
        resume(home, "never")
    assert not (home / "never").exists()


def test_finished_runs_and_foreign_directories_are_left_alone(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("*")}
    for outcome in (begin(home, "whole"), resume(home, "whole")):
        assert (outcome.steps_done, outcome.tokens, outcome.loss) == (STEPS, 1080, None)
    with pytest.raises(PileToolsError, match="finished by a different job: recipe: seed 1234, now 5"):
        begin(home, "whole", seed=5)
    assert {path: path.stat().st_mtime_ns for path in (home / "whole").rglob("*")} == before
    with pytest.raises(PileToolsError, match="already holds something else"):
        begin(home, "data")


def test_parameters_that_cannot_be(home: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], type[PileToolsError], str]] = [
        ({"model": None}, ParameterError, "name one with --model"),
        ({"model": "15m"}, ParameterError, "neither a size"),
        ({"learning_rate": None}, ParameterError, "give one with --lr"),
        ({"learning_rate": 0.0}, ParameterError, r"learning_rate 0\.0"),
        ({"learning_rate": float("nan")}, ParameterError, "learning_rate nan"),
        ({"steps": 0}, ParameterError, "steps 0"),
        ({"steps": 13}, OutOfRangeError, "13 steps of 6 sequences, but the stream has 12"),
        ({"seed": -1}, ParameterError, "seed -1"),
        ({"dtype": "int8"}, ParameterError, "dtype 'int8'"),
        ({"schedule": "often"}, ParameterError, "'often'"),
        ({"micro_batch_size": 0}, ParameterError, "micro_batch_size 0"),
        ({"stop_at": -1}, ParameterError, "stop_at -1"),
    ]
    for settings, error, message in cases:
        with pytest.raises(error, match=message):
            begin(home, "never", **settings)
        assert not (home / "never").exists(), settings


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


def test_a_damaged_checkpoint_is_not_resumed(home: Path) -> None:
    begin(home, "damaged", stop_at=2)
    path = home / "damaged" / "step2" / "optimizer-0-of-1.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"optimizer-0-of-1\.safetensors: damaged or missing"):
        resume(home, "damaged")


# Trains in a fork for each fault, whose standard error goes to a file, and prints how they ended.
DRIVER = """
import os, resource, signal, sys
from pathlib import Path
import torch._dynamo  # a training step imports it
from pile_tools import BatchViewer
from pile_tools.errors import PileToolsError
from pile_tools.train import checkpoints, train

home = Path(sys.argv[1])
for fault in ("kill", "full"):
    if os.fork() == 0:
        break
    print(os.waitstatus_to_exitcode(os.wait()[1]))
else:
    sys.exit()
os.dup2(os.open(home / f"{fault}.err", os.O_WRONLY | os.O_CREAT), 2)
if fault == "kill":
    save = checkpoints.save_tensors
    def save_or_die(tensors, path):
        save(tensors, path)
        if path.parent.name == "step6":
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoints.save_tensors = save_or_die
else:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def full(line):
    if fault == "full" and line["step"] == 4:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))

try:
    train(BatchViewer.open(home / "data"), home / fault, model=str(home / "model"), learning_rate=0.01,
          steps=9, schedule="0,2,6", micro_batch_size=4, device="cpu", on_step=full)
except PileToolsError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def ends(home: Path) -> dict[str, tuple[int, str]]:
    """Exit code and standard error of a run that was killed, and of one whose disk was full."""
    run = subprocess.run(
        [sys.executable, "-c", DRIVER, str(home)], stdout=subprocess.PIPE, text=True, check=True
    )
    codes = map(int, run.stdout.split())
    return {fault: (next(codes), (home / f"{fault}.err").read_text()) for fault in ("kill", "full")}


@pytest.mark.slow
def test_killed_while_writing(home: Path, ends: dict[str, tuple[int, str]]) -> None:
    assert ends["kill"][0] == -9, ends["kill"]
    assert [path.name for path in sorted((home / "kill").glob("step*"))] == ["step0", "step2"]
    assert (home / "kill" / ".unfinished" / "step6" / "generator.safetensors").exists()
    assert differing(home / "kill" / "step2", home / "whole" / "step2") == []
    resume(home, "kill")
    assert losses(home / "kill") == losses(home / "whole")
    assert differing(home / "kill" / "step9", home / "whole" / "step9") == []
    assert not (home / "kill" / ".unfinished").exists()


@pytest.mark.slow
def test_full_disk(home: Path, ends: dict[str, tuple[int, str]]) -> None:
    """A limit on the size of files stands in for a disk that fills up while a checkpoint is written."""
    code, err = ends["full"]
    assert code == UnfinishedError.exit_code, err
    assert "step6 could not be written" in err
    assert "the last checkpoint, step2, is intact; make room and go on with --resume" in err
    assert len(err.splitlines()) == 1
    assert not (home / "full" / ".unfinished" / "step6").exists()
    assert os.listdir(home / "full" / ".unfinished")  # the run is held as unfinished
    resume(home, "full")
    assert differing(home / "full" / "step9", home / "whole" / "step9") == []
