"""``pile-tools train`` and ``verify`` of what it wrote: what they print and how they end."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pile_tools_cli.main import run

from pile_tools.train import read_metrics
from tests.processes import started
from tests.train.small import make_stream, write_config


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("train")
    make_stream(directory / "data")
    make_stream(directory / "other", seed=1)
    write_config(directory / "model")
    return directory


@pytest.fixture
def begin(home: Path) -> list[str]:
    arguments = ["train", "--data", str(home / "data"), "--model", str(home / "model"), "--lr", "0.01"]
    return [*arguments, "--device", "cpu", "--steps", "8", "--micro-batch-size", "2"]


@pytest.mark.slow
def test_train_stop_resume_verify_fork(
    home: Path, begin: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one, data = str(home / "run"), str(home / "data")
    assert run([*begin, "-o", one, "--stop-at", "5"]) == 4
    out, err = capsys.readouterr()
    assert out.startswith(f"{one}/step5: 5 of 8 steps, 600 tokens, loss ")
    assert "FLOPs per token" in err
    assert err.endswith(f"pile-tools: {one}: stopped as asked by --stop-at; go on with --resume\n")
    assert run([*begin, "-o", one]) == 1
    assert "an unfinished run, at step5; go on with --resume" in capsys.readouterr().err

    assert run(["verify", one, "--data", data]) == 0
    assert f"{one}: run: unfinished; step0: has read 0 steps" in (out := capsys.readouterr().out)
    assert "step5: has read 5 steps, each as the stream has it" in out
    assert run(["verify", one, "--data", str(home / "other")]) == 3
    capsys.readouterr()

    picture = home / "loss.png"
    resume = ["train", "--data", data, "-o", one, "--resume", "--device", "cpu", "--json"]
    assert run([*resume, "--plot", str(picture)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["checkpoint"], report["steps_done"], report["tokens"]) == (f"{one}/step8", 8, 960)
    assert picture.read_bytes().startswith(b"\x89PNG")
    machine = json.loads((home / "run/step8/manifest.json").read_text())["parameters"]["machine"]
    assert machine["micro_batch_size"] == 2  # as it began
    assert run([*resume, "--data", str(home / "other")]) == 3
    assert "was trained on another stream" in capsys.readouterr().err

    assert run(["verify", f"{one}/step5", "--data", data]) == 0
    assert "has read 5 steps, each as the stream has it" in capsys.readouterr().out
    assert run(["verify", f"{one}/step5", "--data", str(home / "other")]) == 3
    assert "its steps 0:5 are not of this stream: step 0 of" in capsys.readouterr().err
    assert run(["verify", one]) == 0
    assert "step8: has read 8 steps, not compared with a stream" in (out := capsys.readouterr().out)
    assert "unfinished" not in out

    fork = str(home / "fork")
    assert run(["train", "--from", f"{one}/step5", "--data", str(home / "other"), "-o", fork]) == 0
    assert capsys.readouterr().out.startswith(f"{fork}/step8: 8 of 8 steps")
    assert run(["verify", f"{fork}/step8", "--data", str(home / "other")]) == 4
    out, err = capsys.readouterr()
    assert "has read 8 steps, of which 0:5 differ from what is given with --data" in out
    assert err.startswith(f"pile-tools: {fork}/step8: steps 0:5 differ from every stream given")
    assert run(["verify", f"{fork}/step8", "--data", data]) == 4
    out, err = capsys.readouterr()
    assert "has read 8 steps, of which 5:8 differ from what is given with --data" in out
    assert err.startswith(f"pile-tools: {fork}/step8: steps 5:8 differ from every stream given")
    for given in (data, str(home / "other")):  # checkpoints before and after the fork, in one command
        assert run(["verify", fork, "--data", given]) == 4
    capsys.readouterr()
    assert run(["verify", f"{fork}/step5", "--data", str(home / "other")]) == 3
    assert "its steps 0:5 are not of this stream: step 0 of" in capsys.readouterr().err
    assert run(["verify", fork, "--data", str(home / "other"), "--data", data]) == 0
    assert "differ" not in capsys.readouterr().out


def test_a_run_at_another_batch_size(
    home: Path, begin: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The batch size is recorded: neither resuming nor verifying needs to be told."""
    one, data = str(home / "batch3"), str(home / "data")
    assert run([*begin, "-o", one, "--batch-size", "3", "--stop-at", "4"]) == 4
    assert run(["train", "--data", data, "-o", one, "--resume"]) == 0
    assert run(["verify", f"{one}/step8", "--data", data]) == 0
    assert "has read 8 steps, each as the stream has it" in capsys.readouterr().out


def test_a_fork_does_not_change_the_batch_size_unasked(
    home: Path, begin: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one, fork = str(home / "forked3"), str(home / "fork-batch")
    assert run([*begin, "-o", one, "--batch-size", "3", "--stop-at", "1"]) == 4
    capsys.readouterr()
    fork_it = ["train", "--from", f"{one}/step1", "--data", str(home / "other"), "-o", fork, "--json"]
    assert run(fork_it) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"pile-tools: {one}/step1: trained at batch size 3, but that of {home}/other")
    assert err.endswith("is 6; say which is meant with --batch-size\n")
    assert not Path(fork).exists()
    for size in (3, 6):
        assert run([*fork_it, "--batch-size", str(size), "-o", f"{fork}{size}"]) == 0
        assert json.loads(capsys.readouterr().out)["tokens"] == 20 * (3 + 7 * size)


def test_usage(home: Path, begin: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--data", str(home / "data")]) == 2
    assert run(["train", "--data", str(home / "data"), "-o", str(home / "never")]) == 2
    assert "name one with --model" in capsys.readouterr().err
    assert run([*begin, "-o", str(home / "never"), "--steps", "13"]) == 1
    assert "but the stream has 12" in capsys.readouterr().err
    assert run([*begin, "-o", str(home / "never"), "--plot", str(home)]) == 2
    assert not (home / "never").exists()


@pytest.mark.slow
@pytest.mark.serial
def test_interrupted_by_a_signal(home: Path, begin: list[str]) -> None:
    output = home / "signalled"
    steps = [*begin[:-4], "--steps", "12", "--micro-batch-size", "1", "-o", str(output), "--batch-size", "6"]
    slow = "import time; from pile_tools.train import loop; once = loop._check_tokens\n"
    slow += "def check(*known):\n    time.sleep(0.2)\n    once(*known)\nloop._check_tokens = check\n"
    script = slow + "from pile_tools_cli.main import main; main()"
    metrics = output / "metrics.jsonl"
    with started([sys.executable, "-c", script, *steps], stderr=subprocess.PIPE, text=True) as process:
        while not metrics.exists() or metrics.read_text().count("\n") < 2:
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith("go on with --resume\npile-tools: interrupted\n")
    done = len(read_metrics(output))
    assert 2 <= done < 12
    assert (output / f"step{done}" / "manifest.json").exists()
    assert run(["train", "--data", str(home / "data"), "-o", str(output), "--resume"]) == 0
    assert len(read_metrics(output)) == 12


@pytest.mark.slow
def test_under_torchrun(home: Path, begin: list[str]) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = home / "entry.py"
    script.write_text("from pile_tools_cli.main import main; main()")
    output = str(home / "two")
    done = subprocess.run(
        [*launch, str(script), *begin, "-o", output, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["steps_done"] for line in done.stdout.splitlines()] == [8]  # one process reports
    assert done.stderr.count("FLOPs per token; 2 × cpu") == 1
    assert (home / "two" / "step8" / "optimizer-1-of-2.safetensors").exists()
