"""The pages of the studies are what happens, on the demo's data at laptop size."""

import json
import re
import shlex
from pathlib import Path

import pytest
from pile_tools_cli.main import run

from pile_tools.stages.order.order import make_order
from pile_tools.stages.tokenize.tokenize import tokenize

PAGES = Path(__file__).parents[2] / "docs/studies"
CONFIG = {
    "model_type": "gpt_neox",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 8192,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def workplace(demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's token dataset, of a small library, with a short order, and what the pages name."""
    place = tmp_path_factory.mktemp("pages")
    tokens = place / "demo/tokens"
    tokenize([demo_corpus], tokens, tokenizer=str(demo_corpus / "tokenizer.json"), workers=1)
    make_order(tokens, seq_length=128, batch_size=4, steps=24)
    (place / "tiny.json").write_text(json.dumps(CONFIG))
    (place / "swap.tsv").write_text(" None\t True\n")
    (place / "numbers.txt").write_text("".join(f"{number}\n" for number in range(100)))
    return place


@pytest.mark.parametrize("page", ["counterfactual", "memorization", "term-frequency", "exposure"])
@pytest.mark.slow
def test_commands_run(
    page: str,
    workplace: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in workplace.iterdir():
        (tmp_path / name.name).symlink_to(name)
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"```bash\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "pile-tools"
        assert run(arguments) == 0, capsys.readouterr().err
    expected = {
        "counterfactual": ["overlay/manifest.json", "run-changed/step8/manifest.json"],
        "memorization": ["mem.parquet", "mem.png"],
        "term-frequency": ["counts.parquet", "answers.parquet", "frequency.png"],
        "exposure": ["loss.parquet", "loss.png"],
    }
    for name in expected[page]:
        assert (tmp_path / name).is_file()
    if page == "exposure":
        table = {tuple(line.split()[:3]) for line in capsys.readouterr().out.splitlines()}
        assert {("all", "seen", "8"), ("all", "not", "seen")} <= table
