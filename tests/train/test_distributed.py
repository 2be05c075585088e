"""Processes of torchrun, over gloo: the same batches and losses, resumed by other numbers."""

import filecmp
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pile_tools import BatchViewer
from pile_tools.checks.training import verify_checkpoint
from pile_tools.train import load_model, read_metrics, train
from tests.processes import started
from tests.train.small import make_stream, write_config

STEPS = 7
# What so many processes do in one launch: run, step to stop at, whether to resume, micro-batch size.
WORK = {
    2: [
        ("two", None, False, 1),
        ("two-stopped", 3, False, 1),
        ("two-stopped", None, True, 1),
        ("one-then-two", None, True, 2),
        ("two-then-three", 3, False, 4),
    ],
    3: [
        ("three", None, False, 1),
        ("three-stopped", 3, False, 1),
        ("three-stopped", None, True, 1),
        ("two-then-three", None, True, 2),
        ("three-then-one", 3, False, 5),
    ],
}
# Forks the processes of one launch after the other once torch is imported, which costs more than they do.
PROCESSES = """
import json, os, sys, warnings
from pathlib import Path
import torch._dynamo  # a training step imports it
from pile_tools import BatchViewer
from pile_tools.errors import PileToolsError
from pile_tools.train import optimizer, train
from torch import distributed

warnings.filterwarnings("error", module="pile_tools")
home, work = Path(sys.argv[1]), json.loads(sys.argv[2])

def forked(processes):
    for rank in range(processes):
        if os.fork() == 0:
            return rank
    for _ in range(processes):
        if os.wait()[1]:
            sys.exit(1)

for processes, runs in work:
    if (rank := forked(processes)) is not None:
        break
else:
    sys.exit()
os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
store = f"file://{home}/store-of-{processes}-{os.getppid()}"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
"""
DRIVER = """
for name, stop, resume, micro in runs:
    train(BatchViewer.open(home / "data"), home / name, model=str(home / "model"), steps=7, schedule="0",
          learning_rate=0.01, micro_batch_size=micro, stop_at=stop, resume=resume, device="cpu")
distributed.destroy_process_group()
"""
FAULTS = """
def run(name, data, **settings):
    try:
        outcome = train(BatchViewer.open(data), home / name, model=str(home / "model"), steps=7,
                        learning_rate=0.01, micro_batch_size=1, schedule="0,4", device="cpu", **settings)
        said = f"{outcome.steps_done} {outcome.interrupted}"
    except PileToolsError as error:
        said = f"{type(error).__name__}: {error}"
    (home / f"{name}.{rank}").write_text(said)

# Another copy of the data, in which one process finds other bytes.
run("unequal", home / ("data" if rank == 0 else "other"))
# Only the second process is told to stop.
calls = iter(range(1000))
run("told", home / "data", should_stop=lambda: rank == 1 and next(calls) > 9)
# The second process cannot write its part of a checkpoint.
save = optimizer.FlatAdam.save
def save_or_fail(self, directory):
    if rank == 1 and directory.name == "step4":
        raise OSError(28, "No space left on device", str(directory))
    save(self, directory)
optimizer.FlatAdam.save = save_or_fail
run("full", home / "data")
distributed.destroy_process_group()
"""


def launch(home: Path, script: str, work: list[tuple[int, list[Any]]]) -> None:
    command = [sys.executable, "-c", PROCESSES + script, str(home), json.dumps(work)]
    with started(command, stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def one_process(home: Path, name: str, **settings: Any) -> None:
    settings = {"micro_batch_size": 4, "learning_rate": 0.01, "schedule": "0", "device": "cpu"} | settings
    train(BatchViewer.open(home / "data"), home / name, model=str(home / "model"), steps=STEPS, **settings)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one, two and three processes, and such as changed their number on the way."""
    directory = tmp_path_factory.mktemp("distributed")
    make_stream(directory / "data")
    write_config(directory / "model")
    one_process(directory, "one")
    one_process(directory, "one-then-two", stop_at=3)
    launch(directory, DRIVER, list(WORK.items()))
    one_process(directory, "three-then-one", resume=True)
    return directory


RUNS = ["two", "three", "two-stopped", "three-stopped", "one-then-two", "two-then-three", "three-then-one"]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.slow
def test_the_same_training_by_any_number_of_processes(home: Path, name: str) -> None:
    losses, expected = ([line["loss"] for line in read_metrics(home / run)] for run in (name, "one"))
    assert losses == pytest.approx(expected, rel=1e-5)
    step = f"step{STEPS}"
    # The same batches, byte for byte.
    assert (home / name / step / "data.json").read_bytes() == (home / "one" / step / "data.json").read_bytes()
    assert not verify_checkpoint(home / name / step, [BatchViewer.open(home / "data")]).unproved
    ours, other = load_model(home / name / step), load_model(home / "one" / step)
    weights = zip(ours.parameters(), other.parameters(), strict=True)
    assert max((one - two).abs().max().item() for one, two in weights) < 0.01 * 0.1


@pytest.mark.parametrize("name", ["two", "three"])
@pytest.mark.slow
def test_resumed_to_the_bit_by_the_same_number(home: Path, name: str) -> None:
    one, two = home / name / f"step{STEPS}", home / f"{name}-stopped" / f"step{STEPS}"
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert filecmp.cmpfiles(one, two, names, shallow=False)[1:] == ([], [])
    processes = {"two": 2, "three": 3}[name]
    parts = [one / f"optimizer-{rank}-of-{processes}.safetensors" for rank in range(processes)]
    whole = (home / "one" / f"step{STEPS}" / "optimizer-0-of-1.safetensors").stat().st_size
    assert all(part.stat().st_size < whole / processes * 1.05 for part in parts)  # the state is divided


@pytest.mark.slow
def test_faults_of_one_process_end_all(home: Path) -> None:
    make_stream(home / "other", seed=1)
    launch(home, FAULTS, [(2, [])])
    said = {
        name: [(home / f"{name}.{rank}").read_text() for rank in (0, 1)]
        for name in ("unequal", "told", "full")
    }
    assert all("processes have read different bytes for step 0" in text for text in said["unequal"])
    assert said["told"] == ["2 True", "2 True"]
    assert all(text.startswith("UnfinishedError") for text in said["full"])
    assert "No space left on device" in said["full"][1]
    assert "process 1 could not go on" in said["full"][0]
    assert [path.name for path in sorted((home / "full").glob("step*"))] == ["step0"]
    assert not (home / "full" / ".unfinished" / "step4").exists()
