"""What several commands are given: a stream and a model, and a corpus that is tokenized and ordered."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.studies.small import make_own, make_stream  # with torch, which other commands do not need

    root = tmp_path_factory.mktemp("studies")
    make_stream(root / "tokens")
    make_own(root / "step4")
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, object]:
    """Run a command with --json and return what it prints."""
    assert run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    path = tmp_path_factory.mktemp("trace")
    texts = [f"the words of number {i} are not those of any other" for i in range(40)]
    texts[5] = texts[4]
    lines = [json.dumps({"text": text, "meta": {"pile_set_name": "A"}}) + "\n" for text in texts]
    (path / "in.jsonl").write_text("".join(lines))
    for arguments in (
        ["dedup", str(path / "in.jsonl"), "-o", str(path / "kept")],
        ["tokenize", str(path / "kept"), "-o", str(path / "tokens"), "--tokenizer", str(demo_corpus)],
        ["order", str(path / "tokens"), "--seq-length", "50", "--batch-size", "2", "--steps", "4"],
    ):
        assert run(arguments) == 0
    return path
