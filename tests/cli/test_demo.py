import functools
import shlex
from pathlib import Path

import pytest
from pile_tools_cli.main import run

from pile_tools.stages import demo
from pile_tools.viewer import BatchViewer


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_demo_ends_with_a_row_and_a_table_and_repeats_itself(
    small_library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = functools.partial(demo.make_demo_corpus, library=small_library)
    monkeypatch.setattr(demo, "make_demo_corpus", small)
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "one", "--workers", "1", "--no-train"]) == 0
    out = capsys.readouterr().out
    first = files(tmp_path / "one")
    assert run(["demo", "one", "--no-train"]) == 0
    assert files(tmp_path / "one") == first
    assert run(["demo", "two", "--workers", "2", "--no-train"]) == 0
    assert files(tmp_path / "two") == first

    numbers = dict(line.rsplit(maxsplit=1) for line in out.splitlines() if line.startswith(("doc", "step")))
    counts = {what.strip(): int(number.replace(",", "")) for what, number in numbers.items()}
    assert counts["documents in"] == counts["documents removed"] + counts["documents kept"]
    assert counts["documents removed"] > 10  # encodings/ holds true near-duplicates
    viewer = BatchViewer.open(tmp_path / "one/tokens")
    assert counts["steps"] == viewer.steps
    assert "--- encodings/" in out or "--- email/" in out or "--- asyncio/" in out
    suggestions = [shlex.split(line)[1:] for line in out.splitlines() if line.startswith("  pile-tools ")]
    assert len(suggestions) >= 5
    for suggestion in suggestions:
        assert run(suggestion) == 0, suggestion
    assert run(["demo", "one", "--no-train"]) == 0


def test_demo_does_not_write_into_a_foreign_directory(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/mine.txt").write_text("precious")
    assert run(["demo", str(tmp_path), "--no-train"]) == 1
    assert files(tmp_path) == {"corpus/mine.txt": b"precious"}
