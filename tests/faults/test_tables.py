"""Tables on 80 columns: numbers right, texts left and shortened in the middle, ten sources and the rest."""

import json
import unicodedata
from pathlib import Path

import pytest
from pile_tools_cli.main import run
from pile_tools_cli.tables import display_width, fold_rows, print_table, print_text, shorten, wrap


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(
    capsys: pytest.CaptureFixture[str], header: list[str], rows: list[tuple[object, ...]]
) -> list[str]:
    capsys.readouterr()
    print_table(header, rows)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_numbers_are_right_aligned_and_texts_left(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        capsys,
        ["source", "step", "tokens", "shard"],
        [("A", 65000, 1234567, "a"), ("long name", 7, None, "bb")],
    )
    assert lines == [
        "source      step     tokens  shard",
        "A          65000  1,234,567  a",
        "long name      7          -  bb",
    ]


def test_wide_characters_count_twice_and_marks_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["日本語", "e\u0301tude", "абв", "🙂"]
    assert [display_width(name) for name in names] == [6, 5, 3, 2]
    lines = printed(capsys, ["name", "n"], [(name, 1) for name in names])
    assert {display_width(line) for line in lines[1:]} == {9}


@pytest.mark.parametrize("name", ["x" * 200, "語" * 100, "ab" * 50 + "語" * 30, "e\u0301" * 90, "short"])
@pytest.mark.parametrize("width", [5, 12, 13, 40])
def test_long_names_lose_their_middle(name: str, width: int) -> None:
    short = shorten(name, width)
    assert display_width(short) <= width
    if display_width(name) <= width:
        assert short == name
    else:
        head, tail = short.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
        assert display_width(short) >= width - 2  # a wide character may not fit into what is left


def test_tables_of_the_whole_pile_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    header = ["source", "documents", "removed", "kept", "bytes", "removed bytes", "kept bytes"]
    row = (210_607_728, 38_000_111, 172_607_617, 1_345_098_765_432, 345_098_765_432, 1_000_000_000_000)
    lines = printed(
        capsys, header, [("Gutenberg (PG-19) and other long names of sources", *row), ("small", *[7] * 6)]
    )
    assert max(map(display_width, lines)) <= 80
    body = lines[-2:]
    assert "210,607,728" in body[0]  # what fits is exact
    assert "<1" in body[1]  # seven bytes are not none
    joined = " ".join(lines[:-2])
    assert "(k)" in joined or "(M)" in joined or "(G)" in joined


def test_names_from_the_data_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ["source", "n"], [("a\x1b[31m\nb", 1)])
    assert len(lines) == 2
    assert all(character.isprintable() for line in lines for character in line)


def test_paragraphs_are_wrapped_and_addresses_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    address = "hf://datasets/" + "x" * 90
    print_text(f"a dataset {'word ' * 30} {address}", "  ")
    lines = capsys.readouterr().out.splitlines()
    assert f"    {address}" in lines
    assert max(len(line) for line in lines if address not in line) <= 80


def test_rest_is_the_sum_of_the_others() -> None:
    rows = [(f"s{index}", index, 2 * index) for index in range(30)]
    folded = fold_rows(rows, "sources")
    assert folded[:10] == rows[:10]
    assert folded[10] == ("(20 other sources)", sum(range(10, 30)), 2 * sum(range(10, 30)))
    assert len(folded) == 11
    assert fold_rows(rows[:11], "sources") == rows[:11]
    assert fold_rows(rows, "sources", limit=None) == rows


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    """A corpus of 60 sources, one of a very long name and one of wide characters; i has 60 − i records."""
    home = tmp_path_factory.mktemp("many")
    names = [f"source number {index}" for index in range(58)]
    names[3:3] = ["a very long name of a source that no table of eighty columns has room for, or so it seems"]
    names[5:5] = ["日本語ウィキペディアの記事とその他の文書、たいへん長い名前"]
    lines = [
        json.dumps(
            {
                "text": f"{name} {copy} is {' '.join(map(str, range(copy, 40)))}",
                "meta": {"pile_set_name": name},
            }
        )
        for index, name in enumerate(names)
        for copy in range(60 - index)
    ]
    lines.append('{"text": "of no source at all"}')
    (home / "in.jsonl").write_text("\n".join(lines) + "\n")
    kept = ["dedup", str(home / "in.jsonl"), "-o", str(home / "kept"), "--exact", "--workers", "1"]
    tokens = ["tokenize", str(home / "kept"), "-o", str(home / "tokens"), "--tokenizer", str(demo_corpus)]
    shape = ["--seq-length", "64", "--batch-size", "8", "--steps", "40"]
    for arguments in (kept, tokens, ["order", str(home / "tokens"), *shape]):
        assert run(arguments) == 0
    return home


def summaries(home: Path) -> dict[str, list[str]]:
    stages = {"dedup": ["dedup", str(home / "in.jsonl"), "-o", str(home / "kept"), "--exact"]}
    stages["tokenize"] = ["tokenize", str(home / "kept"), "-o", str(home / "tokens"), "--tokenizer"]
    stages["tokenize"].append(str(home / "tokens/tokenizer.json"))
    stages["mixture"] = ["mixture", "--data", str(home / "tokens")]
    return stages


@pytest.mark.parametrize("command", ["dedup", "tokenize", "mixture"])
def test_sources_are_a_screenful_and_all_are_shown_on_request(
    command: str, many: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = summaries(many)[command]
    capsys.readouterr()
    assert run(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    assert max(map(display_width, lines)) <= 80
    assert sum("(50 other sources)" in line for line in lines) == 1
    assert any("…" in line for line in lines)
    assert run([*arguments, "--all"]) == 0
    everything = capsys.readouterr().out
    assert len(everything.splitlines()) > 60
    assert "other sources" not in everything
    assert run([*arguments, "--json"]) == 0
    report = capsys.readouterr().out
    assert "…" not in report
    assert "日本語ウィキペディアの記事とその他の文書、たいへん長い名前" in report


def test_rest_of_dedup_makes_the_sum(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(summaries(many)["dedup"]) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()]
    documents = {row[0]: row for row in rows}
    counted = [int(row[-6].replace(",", "")) for row in rows[1:13]]
    assert sum(counted) == int(documents["all"][1].replace(",", "")) == sum(range(1, 61)) + 1


@pytest.mark.parametrize("arguments", [["suites"], ["checkpoints", "--suite", "pythia-deduped"]])
def test_other_tables_fit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    lines = "".join(capsys.readouterr()).splitlines()
    assert max(len(line) for line in lines) <= 80


def test_trace_and_seen_fit(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(many / "tokens")
    capsys.readouterr()
    for arguments in (
        ["trace", "--step", "2", "--row", "1"],
        ["seen", "--document", "1"],
        ["repeats", "--every", "10"],
        ["seen", "--document", "1", "--world-size", "2"],
    ):
        assert run([*arguments, "--data", data]) == 0
        assert max(map(display_width, capsys.readouterr().out.splitlines())) <= 80


def test_display_width_knows_the_classes_of_unicode() -> None:
    assert unicodedata.east_asian_width("ア") == "W"
    assert display_width("ｱ") == 1  # half width
    assert display_width("Ａ") == 2  # full width


@pytest.mark.parametrize("text", ["日本語の記事 and 文書 of " * 5, "x" * 50, "語" * 33, "a b c " * 20, ""])
@pytest.mark.parametrize("width", [7, 20, 21])
def test_lines_are_wrapped_by_what_they_take_on_a_terminal(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(display_width(line) <= width for line in lines)


def test_columns_of_explain_are_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"文書{index}の言葉 word{index}" for index in range(40)]
    texts = [" ".join(words), " ".join([*words[:-1], "別の言葉"])]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    out = str(tmp_path / "out")
    assert run(["dedup", str(tmp_path / "in.jsonl"), "-o", out, "--threshold", "0.5", "--workers", "1"]) == 0
    capsys.readouterr()
    assert run(["explain", out, "--shard", "in.jsonl", "--row", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if " │ " in line]
    assert len(lines) > 3
    assert {display_width(line.split(" │ ")[0]) for line in lines} == {38}
