"""Origins of fetched steps as they are written: from behind a URL, and by a run that was stopped."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pile_tools import BatchViewer
from pile_tools.errors import PileToolsError, UnfinishedError
from pile_tools.stages.fetch import origins as fetch_origins
from pile_tools.stages.fetch.fetch import fetch_steps
from tests.fetched import ARRAYS, everything, fetched, whole_stream
from tests.hub_server import publish, running_hub, use_as_hub
from tests.lookups.conftest import MakeStream
from tests.processes import started


@pytest.fixture
def whole(make_stream: MakeStream) -> BatchViewer:
    return whole_stream(make_stream)


def test_fetched_from_behind_a_url(
    whole: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(whole, 3, 9, tmp_path / "here")
    with running_hub() as hub:
        use_as_hub(monkeypatch, hub)
        url = publish(hub, whole.dataset.directory)
        there = fetched(BatchViewer.open(url), 3, 9, tmp_path / "there")
        assert everything(there) == everything(BatchViewer.open(tmp_path / "here"))
        again = publish(hub, tmp_path / "here", "owner/steps")
        assert everything(BatchViewer.open(again)) == everything(there)
        hub.sent.clear()
        fetch_steps(BatchViewer.open(url), 3, 4, tmp_path / "bare", tokens_only=True)
        assert not [name for name in hub.sent if "documents" in name]
    for name in (*ARRAYS, "documents-0.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert not BatchViewer.open(tmp_path / "bare").knows_documents


def test_a_killed_run_ends_with_the_same_bytes(
    whole: BatchViewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_origins, "_BLOCK", 4)
    fetched(whole, 3, 9, tmp_path / "whole")
    calls = 0

    def pieces(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    real = fetch_origins._pieces
    monkeypatch.setattr(fetch_origins, "_pieces", pieces)
    with pytest.raises(KeyboardInterrupt):
        fetched(whole, 3, 9, tmp_path / "steps")
    with pytest.raises(UnfinishedError):
        BatchViewer.open(tmp_path / "steps")
    fetched(whole, 3, 9, tmp_path / "steps")
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "steps")
    ]
    assert contents[0] == contents[1]
    with pytest.raises(PileToolsError, match="holds something else"):
        fetch_steps(whole, 3, 9, tmp_path / "steps", tokens_only=True)


# Fetches in a fork for each line of its input, "output left"; the fork dies at its left-th event.
KILLED = """
import os, sys
from pathlib import Path
from pile_tools import BatchViewer
from pile_tools.stages.fetch.fetch import fetch_steps

output, left = "never", 0

def hook(event, arguments):
    global left
    if event in ("open", "os.rename", "os.remove") and str(arguments[0]).startswith(output):
        left -= 1
        if left == 0:
            os._exit(9)

viewer = BatchViewer.open(sys.argv[1])
for line in sys.stdin:
    if os.fork() == 0:
        output, left = line.split()[0], int(line.split()[1])
        sys.addaudithook(hook)
        fetch_steps(viewer, 3, 9, Path(output))
        print("events left:", left, flush=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(whole: BatchViewer, tmp_path: Path) -> None:
    fetched(whole, 3, 9, tmp_path / "whole")

    def contents(name: str) -> dict[str, bytes]:
        paths = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in paths}

    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", KILLED, str(whole.dataset.directory)]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def fetch(name: str, left: int) -> str:
            print(tmp_path / name, left, file=process.stdin, flush=True)
            return process.stdout.readline()

        left = fetch("counted", 10_000)
        events = 10_000 - int(left.removeprefix("events left:"))
        assert process.stdout.readline() == "0\n"
        expected = contents("whole")
        assert contents("counted") == expected
        for i, at in enumerate(np.linspace(1, events, 8).astype(int).tolist()):
            name = f"killed-{i}"
            assert fetch(name, at) == "9\n"
            fetched(whole, 3, 9, tmp_path / name)
            assert contents(name) == expected


def test_other_half_finished_work_is_left_alone(whole: BatchViewer, tmp_path: Path) -> None:
    for name in ("job.json", "shard.bin"):
        work = tmp_path / name / ".unfinished"
        work.mkdir(parents=True)
        (work / name).write_bytes(b"{}")
        (work / "x.7.partial").touch()
        with pytest.raises(PileToolsError, match="choose another directory"):
            fetch_steps(whole, 3, 9, tmp_path / name)
        assert sorted(path.name for path in work.iterdir()) == sorted([name, "x.7.partial"])
