"""The notebook in the docs runs on the demo's data, and says what the library answers."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from pile_tools import BatchViewer
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.demo import TOKENIZER_NAME
from pile_tools.stages.order import make_order
from pile_tools.stages.tokenize import tokenize

NOTEBOOK = json.loads((Path(__file__).parents[1] / "docs" / "exposure.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def tokens(demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("notebook") / "tokens"
    tokenize([demo_corpus], directory, tokenizer=str(demo_corpus / TOKENIZER_NAME), workers=1)
    # Not all of two epochs: some of it has been seen twice, some once.
    samples = TokenDataset.open(directory).n_tokens * 3 // 2 // 256
    make_order(directory, seq_length=256, batch_size=8, steps=samples // 8)
    return directory


def test_the_notebook_runs(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PILE_TOOLS_DATA", str(tokens))
    shown: list[Any] = []

    def show() -> None:
        plt.gcf().canvas.draw()
        shown.append([len(axes.lines) for axes in plt.gcf().axes])
        plt.close()

    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", show)
    namespace: dict[str, Any] = {}
    printed = {}
    for cell in CODE:
        exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
        printed[cell["id"]] = capsys.readouterr().out
    viewer = BatchViewer.open(tokens)
    assert f"{viewer.steps} steps of 8 sequences of 257 tokens" in printed["open"]
    piece = max(viewer.trace(viewer.steps // 2, 0).to_pylist(), key=lambda piece: piece["n_tokens"])
    assert f"document {piece['document']}: {piece['shard']}, row {piece['row']}" in printed["choose"]
    seen = viewer.occurrences(document=piece["document"])
    assert f"{seen.num_rows} pieces in" in printed["occurrences"]
    texts = [viewer.text(step, row) for step in range(viewer.steps) for row in range(8)]
    total = sum(text.count("raise ValueError") for text in texts)
    assert total > 0
    assert f"'raise ValueError': {total}," in printed["count"]
    # A line for each piece, for each phrase, for each number of times, and for each source.
    assert shown[:2] == [[seen.num_rows], [2]]
    assert shown[2][0] >= 2
    assert shown[3][0] >= 4


def test_the_notebook_is_clean() -> None:
    """No outputs and no counts: the file changes only where its text does."""
    assert NOTEBOOK["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] == {}
    for cell in CODE:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
