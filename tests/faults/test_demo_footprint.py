"""The demo's footprint: one checkpoint, eight sources, and suggestions that work as they are printed."""

import functools
import json
import shlex
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pile_tools_cli import demo as demo_command
from pile_tools_cli.main import run

from pile_tools.errors import ParameterError
from pile_tools.stages import demo
from pile_tools.stages.demo_themes import REST, THEMES, theme
from pile_tools.train import SIZES, train, verify_run
from tests.train.small import make_stream, write_config


@pytest.fixture
def small_demo(small_library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A demo of few files, few steps and short rows; the name of the current directory has spaces."""
    monkeypatch.setattr(
        demo, "make_demo_corpus", functools.partial(demo.make_demo_corpus, library=small_library)
    )
    training = demo_command.TRAINING | {"steps": 4, "schedule": "4"}
    for name, value in (("SEQ_LENGTH", 32), ("STOP_AT", 2), ("TRAINING", training)):
        monkeypatch.setattr(demo_command, name, value)
    home = tmp_path / "a fresh folder"
    home.mkdir()
    monkeypatch.chdir(home)
    return home


def test_demo_trains_keeps_one_checkpoint_and_every_suggestion_works(
    small_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "my demo", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "interrupted after 2 steps and resumed; verified" in " ".join(out.split())
    checkpoints = [path.name for path in (small_demo / "my demo/run").glob("step*")]
    assert checkpoints == ["step4"]
    assert (small_demo / "my demo/run/step4/optimizer.json").is_file()
    suggestions = [shlex.split(line)[1:] for line in out.splitlines() if line.startswith("  pile-tools ")]
    assert {arguments[0] for arguments in suggestions} >= {"batch", "trace", "find", "seen", "loss", "dedup"}
    before = {path.name for path in small_demo.iterdir()}
    for arguments in suggestions:
        assert max(map(len, arguments)) < 40, arguments  # no long names of orders
        assert run(arguments) == 0, capsys.readouterr().err
        assert capsys.readouterr().out.strip()
    assert {path.name for path in small_demo.iterdir()} == before  # nothing is left beside the demo
    assert (small_demo / "my demo/kept-0.7.png").read_bytes().startswith(b"\x89PNG")
    # Again: everything is done, and the order is still the one that is meant.
    shape = ["--seq-length", "32", "--batch-size", "8", "--steps", "5"]
    assert run(["order", "my demo/tokens", *shape]) == 0
    capsys.readouterr()
    assert run(["demo", "my demo", "--workers", "1"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("  pile-tools ")] == [
        line for line in out.splitlines() if line.startswith("  pile-tools ")
    ]
    manifest = json.loads((small_demo / "my demo/run/manifest.json").read_text())
    assert [entry["name"] for entry in manifest["outputs"] if "step" in entry["name"]] == [
        "step4/manifest.json"
    ]


def test_real_demo_weighs_less_than_60_mb() -> None:
    size = SIZES[demo_command.TRAINING["model"]]
    assert size.width == 64
    parameters = 2 * size.vocab * size.width + size.layers * (12 * size.width**2 + 13 * size.width)
    checkpoint = 3 * 4 * parameters  # weights and two moments, float32
    # Two are there at once while the older is removed; corpus, kept and tokens of a library are 14 MB.
    assert 2 * checkpoint + 20e6 < 60e6
    assert size.vocab >= demo.VOCABULARY_SIZE
    assert (demo_command.SEQ_LENGTH, demo_command.TRAINING["keep_last"]) == (512, 1)


def test_every_module_has_one_theme() -> None:
    modules = Counter(module for names in THEMES.values() for module in names.split())
    assert max(modules.values()) == 1
    assert 6 <= len(THEMES) + 1 <= 8
    assert REST not in THEMES
    # Modules that came or went between 3.11 and 3.13 have a theme in all of them.
    assert theme("cgi.py") == theme("http/server.py") == "internet"
    assert theme("pathlib.py") == theme("pathlib/_local.py") == "files and formats"
    assert theme("distutils/core.py") == "development"
    assert theme("_pyrepl/reader.py") == "user interfaces"
    assert theme("a_module_of_python_4.py") == theme("LICENSE.txt") == REST
    assert {name for name in modules if not name.startswith("_")} & set(sys.stdlib_module_names)


def test_demo_has_few_sources(demo_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ["tokenize", str(demo_corpus), "-o", str(tmp_path / "tokens"), "--tokenizer", str(demo_corpus)]
    assert run(tokens) == 0
    table = pq.read_table(tmp_path / "tokens/documents.parquet", columns=["source"])
    assert set(table.column("source").unique().to_pylist()) <= {*THEMES, REST}
    assert "text" in capsys.readouterr().out


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    viewer = make_stream(tmp_path / "data")
    model = str(write_config(tmp_path / "model"))
    settings = {"model": model, "steps": 6, "learning_rate": 0.01, "schedule": "0,1,2,3,4", "device": "cpu"}
    whole = train(viewer, tmp_path / "whole", **settings)
    train(viewer, tmp_path / "run", keep_last=2, stop_at=3, **settings)
    assert sorted(path.name for path in (tmp_path / "run").glob("step*")) == ["step2", "step3"]
    last = train(viewer, tmp_path / "run", keep_last=1, resume=True, **settings)
    assert [path.name for path in (tmp_path / "run").glob("step*")] == ["step6"]
    weights = "model.safetensors"
    assert (last.checkpoint / weights).read_bytes() == (whole.checkpoint / weights).read_bytes()
    assert verify_run(tmp_path / "run", [viewer]).finished
    assert not list((tmp_path / "run").rglob("removed-*"))
    with pytest.raises(ParameterError, match="keep_last 0"):
        train(viewer, tmp_path / "none", keep_last=0, **settings)
    assert not (tmp_path / "none").exists()
