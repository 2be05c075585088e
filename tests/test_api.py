"""Functions of ``pile_tools`` that do what the commands do."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pile_tools
from pile_tools import BatchViewer, DataError

TREE = Path(__file__).parent / "golden/0.1.0"
FUNCTIONS = (
    *("dedup", "tokenize", "make_order", "digest", "diff", "intervene", "verify", "open_suite"),
    "token_losses",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, which "~" is, with inputs and outputs of the commands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("corpus", "kept", "tokens", "run"):
        shutil.copytree(TREE / name, tmp_path / name)
    shutil.copy(TREE / "tokenizer.json", tmp_path)
    return tmp_path


def test_names_are_exported_and_load_nothing_before_their_use() -> None:
    assert set(FUNCTIONS) <= set(pile_tools.__all__) & set(dir(pile_tools))
    code = "import sys, pile_tools; print([n for n in sys.modules if n.startswith('pile_tools.')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['pile_tools.errors']"
    for name in FUNCTIONS:
        assert getattr(pile_tools, name).__doc__


def test_a_pipeline_in_python_is_that_of_the_commands(home: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    kept = pile_tools.dedup(
        "~/corpus", "~/kept-now", exact=True, workers=1, progress=lambda *call: calls.append(call)
    )
    assert calls
    assert kept.parameters["method"] == "text"
    assert (home / "kept-now/dedup.parquet").is_file()
    tokenized = pile_tools.tokenize(
        [home / "kept"], "~/made", tokenizer="~/tokenizer.json", max_skipped=0.05, workers=1
    )
    assert tokenized.counts["tokens"] > 0
    assert (home / "made/document.bin").read_bytes() == (home / "tokens/document.bin").read_bytes()
    pile_tools.make_order("~/made", seq_length=64, batch_size=8, steps=40, seed=1234)
    made, frozen = BatchViewer.open("~/made"), BatchViewer.open(Path("~/tokens"))
    assert pile_tools.diff(made, "~/tokens").first_step is None
    summary = pile_tools.digest("~/made", "~/digests")
    assert summary.record.root == pile_tools.digest(frozen, home / "frozen").record.root
    change = pile_tools.intervene("~/made", "~/overlay", from_step=5, drop="3,4")
    assert (change.from_step, change.to_step) == (5, 40)
    found = pile_tools.diff("~/made", "~/overlay")
    assert found.first_step is not None
    assert found.first_step >= 5


def test_verify_reports_and_refuses(home: Path) -> None:
    reports = pile_tools.verify("~/tokens")
    assert {report.path for report in reports} == {str(home / "tokens")}
    assert [report.check for report in pile_tools.verify(["~/run/step4"], streams="~/tokens")]
    data = home / "tokens/document.bin"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    with pytest.raises(DataError, match=r"document\.bin"):
        pile_tools.verify(home / "tokens")


def test_the_losses_of_a_row(home: Path) -> None:
    pytest.importorskip("torch")
    from pile_tools.studies.model_name import ModelName
    from pile_tools.studies.models import open_model

    viewer = BatchViewer.open("~/tokens")
    losses = pile_tools.token_losses(viewer, "~/run/step4", 6, 3)
    assert (losses.shape, losses.dtype) == ((64,), np.float32)
    model = open_model(ModelName(str(home / "run/step4")))
    whole = model.token_losses(viewer.batch(6))
    np.testing.assert_allclose(losses, whole[3], rtol=1e-5)
    assert (pile_tools.token_losses("~/tokens", model, 6, 3) == losses).all()


def test_files_are_trusted_where_that_is_asked() -> None:
    assert BatchViewer.open(TREE / "tokens", trust_files=True).unproved == (
        "files are believed as they are, and not checked (--trust-files, trust_files=True)",
    )
    assert BatchViewer.open(TREE / "tokens").unproved == ()
