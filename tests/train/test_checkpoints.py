"""Checkpoints of a run: whole or not there, and never resumed when damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pile_tools.errors import DataError, UnfinishedError
from tests.train.small import (
    begin,
    differing,
    losses,
    resume,
)


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
