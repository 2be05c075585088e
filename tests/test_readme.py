"""What the README and the quickstart say is what happens."""

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from pile_tools_cli.main import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
@pytest.mark.slow
def test_commands_and_snippets_run(
    page: str,
    demo_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo_corpus, "demo/corpus")
    out = io.StringIO()
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        if language == "python":
            with contextlib.redirect_stdout(out):
                exec(compile(block, page, "exec"), {})
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "pile-tools"
            assert run(arguments) == 0, capsys.readouterr().err
    assert "'shard': 'stdlib-0" in out.getvalue()


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
