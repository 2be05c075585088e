"""The notebook in the docs runs on the demo's data, and says what the library answers."""

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from pile_tools import BatchViewer
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.demo import TOKENIZER_NAME
from pile_tools.stages.fetch.fetch import fetch_steps
from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize
from pile_tools.studies.intervene.intervene import Intervention, intervene

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


class Notebook:
    """Runs the notebook: what its cells print, and the lines in each plot."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, **environment: str) -> tuple[dict[str, str], list[list[int]]]:
        for name in ("DATA", "BATCH_SIZE", "PHRASE"):
            self._monkeypatch.delenv(f"PILE_TOOLS_{name}", raising=False)
        for name, value in environment.items():
            self._monkeypatch.setenv(f"PILE_TOOLS_{name}", value)
        shown: list[list[int]] = []

        def show() -> None:
            plt.gcf().canvas.draw()
            shown.append([len(axes.lines) for axes in plt.gcf().axes])
            plt.close()

        plt.switch_backend("agg")
        self._monkeypatch.setattr(plt, "show", show)
        namespace: dict[str, Any] = {}
        printed = {}
        for cell in CODE:
            exec(compile("".join(cell["source"]), cell["id"], "exec"), namespace)
            printed[cell["id"]] = self._capsys.readouterr().out
        return printed, shown


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Notebook:
    return Notebook(monkeypatch, capsys)


def texts_of(viewer: BatchViewer) -> list[str]:
    return [viewer.text(step, row) for step in range(viewer.steps) for row in range(viewer.batch_size)]


@pytest.mark.slow
def test_the_notebook_runs(tokens: Path, notebook: Notebook) -> None:
    phrase = "raise ValueError"
    printed, shown = notebook.run(DATA=str(tokens), PHRASE=phrase)
    viewer = BatchViewer.open(tokens)
    assert f"{viewer.steps} steps of 8 sequences of 257 tokens" in printed["open"]
    assert "epochs: 2" in printed["open"]
    piece = max(viewer.trace(viewer.steps // 2, 0).to_pylist(), key=lambda piece: piece["n_tokens"])
    assert f"document {piece['document']}: {piece['shard']}, row {piece['shard_row']}" in printed["choose"]
    seen = viewer.seen(document=piece["document"])
    assert f"{seen.num_rows} pieces in" in printed["occurrences"]
    total = sum(text.count(phrase) for text in texts_of(viewer))
    assert total > 0
    assert f"'{phrase}': {total}," in printed["count"]
    # A line for each piece, for each phrase, for each number of times, and for each source.
    assert shown[:2] == [[seen.num_rows], [2]]
    assert shown[2][0] >= 2
    assert shown[3][0] >= 4
    with pytest.raises(ValueError, match="'xyzzy plugh' is nowhere in the stream; set PILE_TOOLS_PHRASE"):
        notebook.run(DATA=str(tokens), PHRASE="xyzzy plugh")


OTHERS = {
    "words": "The quick brown fox jumps over the lazy dog, and the quick brown fox sleeps. ",
    "no spaces": "широкаястраналесовполейирек",
    "no words": "$?! ... ;-) $ ",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
@pytest.mark.slow
def test_the_notebook_looks_at_any_dataset(
    text: str, demo_corpus: Path, notebook: Notebook, tmp_path: Path
) -> None:
    """Of other texts, and once more as another tool's: maps without a record, no addresses of documents."""
    corpus, data = tmp_path / "corpus", tmp_path / "data"
    corpus.mkdir()
    lines = [json.dumps({"text": f"{number}{text * (number % 5 + 1)}"}) for number in range(60)]
    (corpus / "a.jsonl").write_text("\n".join(lines) + "\n")
    tokenize([corpus], data, tokenizer=str(demo_corpus / TOKENIZER_NAME), workers=1)
    make_order(data, seq_length=64, batch_size=2, steps=TokenDataset.open(data).n_tokens // 128 - 1)
    viewer = BatchViewer.open(data)
    printed, shown = notebook.run(DATA=str(data))
    assert f"{viewer.steps} steps of 2 sequences of 65 tokens" in printed["open"]
    (phrase, count), *_ = ast.literal_eval(printed["count"].partition("} ")[0] + "}").items()
    assert phrase in viewer.text(viewer.steps // 2, 0)
    assert count == sum(occurrences(found, phrase) for found in texts_of(viewer)) > 0
    assert len(shown) == 4
    for name in ("order.json", "documents.parquet", "manifest.json"):
        (data / name).unlink()
    again, shown = notebook.run(DATA=str(data), BATCH_SIZE="2")
    assert "epochs: not known" in again["open"]
    assert "documents.parquet" in again["mixture"]
    assert again["count"] == printed["count"]
    assert len(shown) == 3


@pytest.mark.slow
def test_the_notebook_follows_a_counterfactual_and_what_was_fetched_of_it(
    tokens: Path, notebook: Notebook, tmp_path: Path
) -> None:
    whole = BatchViewer.open(tokens)
    middle = whole.steps // 2
    own = set(whole.trace(middle, 0).column("document").to_pylist())
    others = range(whole.stream.parts[0].n_documents or 0)
    dropped = ",".join(str(number) for number in others if number not in own and number % 3 == 0)
    change = Intervention(drop=[dropped])
    intervene(tokens, tmp_path / "o", change, from_step=middle - 3, to_step=middle + 3)
    fetch_steps(BatchViewer.open(tmp_path / "o"), middle - 3, middle + 3, tmp_path / "steps")
    fetch_steps(whole, middle - 3, middle + 3, tmp_path / "bare", tokens_only=True)
    for name in ("o", "steps"):
        printed, shown = notebook.run(DATA=str(tmp_path / name))
        assert "an overlay that packs" in printed["repeats"]
        assert len(shown) == 3
    with pytest.raises(ValueError, match="does not know the ends of its documents"):
        notebook.run(DATA=str(tmp_path / "bare"))


def occurrences(text: str, phrase: str) -> int:
    return sum(text.startswith(phrase, place) for place in range(len(text)))


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
