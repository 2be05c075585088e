"""Figures as files: their format, the same bytes for the same data, and nothing left where drawing fails."""

from pathlib import Path

import pytest

from pile_tools.errors import ParameterError
from pile_tools.render.figures import check_figures, figure

pytest.importorskip("matplotlib")


def draw(path: Path) -> bytes:
    with figure(path) as axes:
        axes.plot([1, 2, 3], [4, 9, 1], label="loss")
        axes.legend()
    return path.read_bytes()


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG\r\n"), ("pdf", b"%PDF-"), ("svg", b"<?xml")])
def test_the_same_data_are_the_same_bytes(
    suffix: str, magic: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    content = draw(tmp_path / f"first.{suffix}")
    assert content.startswith(magic)
    monkeypatch.setitem(mpl.rcParams, "lines.linewidth", 9)  # a user's settings
    assert draw(tmp_path / f"second.{suffix}") == content
    assert mpl.rcParams["lines.linewidth"] == 9


def test_columns_are_drawn_side_by_side(tmp_path: Path) -> None:
    with figure(tmp_path / "both.png", columns=2, width=3) as axes:
        assert len(axes) == 2
        axes[1].plot([1], [1])
    header = (tmp_path / "both.png").read_bytes()[16:24]
    assert [int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")] == [2 * 3 * 130, 4 * 130]


@pytest.mark.parametrize("name", ["loss.jpg", "loss", "loss.PNG", ".png"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"not the name of a file of \.png, \.pdf or \.svg"):
        draw(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_drawing_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    check_figures()
    content = draw(tmp_path / "loss.png")
    with pytest.raises(ZeroDivisionError), figure(tmp_path / "loss.png"):
        raise ZeroDivisionError
    assert (tmp_path / "loss.png").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]
