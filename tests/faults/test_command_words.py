"""Commands, options and keys of answers that had two names, or a name for two things."""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq
import pytest
from pile_tools_cli.main import COMMANDS, cli, run

from pile_tools import BatchViewer, suites

TREE = Path(__file__).parents[1] / "golden/0.1.0"
# Commands that read a stream, apart from `order`, whose --data are the datasets of a blend, and `verify`.
STREAMS = (
    *("batch", "trace", "seen", "find", "count", "terms", "repeats", "mixture", "export", "diff", "digest"),
    *("fetch", "train", "intervene", "memorize", "memorize-report", "loss"),
)
DIRECTORIES = ("merge", "split", "lineage", "card")
NO_DATA_ARGUMENT = {"find", "count", "diff"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(TREE, tmp_path_factory.mktemp("words") / "tree"))


@pytest.fixture(autouse=True)
def inside(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    monkeypatch.delenv("PILE_TOOLS_DATA", raising=False)


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def options_of(name: str) -> set[str]:
    context = cli.make_context("pile-tools", [], resilient_parsing=True)
    command = cli.get_command(context, name)
    assert command is not None
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize("method", ["seen", "find", "count", "terms", "repeats", "mixture", "trace"])
def test_a_method_is_the_command_of_its_name(method: str) -> None:
    assert callable(getattr(BatchViewer, method))
    assert method in COMMANDS


def test_count_counts_what_find_finds(capsys: pytest.CaptureFixture[str]) -> None:
    hits = answer(capsys, "find", "order", "--data", "tokens")["occurrences"]
    counts = answer(capsys, "count", "order", "--data", "tokens", "--every", "10")
    assert counts["counts"] == [
        {"checkpoint": mark, "pattern": "order", "count": sum(hit["step"] < mark for hit in hits)}
        for mark in (10, 20, 30, 40)
    ]
    assert counts["patterns"][0]["first_step"] == hits[0]["step"]


def test_terms_counts_as_it_did_under_the_name_of_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    output = tmp_path / "counts.parquet"
    asked = ["terms", "--data", "tokens", "--terms", "terms.txt", "--every", "10", "-o", str(output)]
    assert run(asked) == 0, capsys.readouterr().err
    assert pq.read_table(output).to_pylist() == pq.read_table("counts.parquet").to_pylist()


@pytest.mark.parametrize(
    "former",
    [
        ["find", "order", "--count"],
        ["find", "order", "--every", "10"],
        ["find", "order", "--plot", "x.png"],
        ["count", "--terms", "terms.txt"],
        ["count", "order", "--window", "5"],
    ],
)
def test_a_former_spelling_is_a_usage_error(former: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*former, "--data", "tokens"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_row_is_of_a_step_and_shard_row_of_a_shard(capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--data", "tokens", "--step", "12", "--row", "1"]
    trace = answer(capsys, "trace", *place)
    [piece] = trace["pieces"]
    assert (trace["row"], piece["shard"], piece["shard_row"]) == (1, "a.jsonl.zst", 0)
    assert [address["shard_row"] for address in piece["addresses"]] == [0, 0]
    shown = answer(capsys, "batch", *place)
    assert (shown["row"], shown["pieces"][0]["shard_row"]) == (1, 0)
    assert not any("row" in row for row in (piece, *piece["addresses"], shown["pieces"][0]))
    viewer = BatchViewer.open("tokens")
    assert viewer.trace(12, 1).column("shard_row").to_pylist() == [0]
    assert viewer.pieces(12, 1)[0].shard_row == 0


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_named_alike_by_every_command(name: str) -> None:
    shared = {"--data", "--suite", "--batch-size", "--io", "--cache", "--cache-bytes", "--trust-files"}
    assert shared <= options_of(name)
    assert ("--order" in options_of(name)) is (name != "diff")
    assert ("data_argument" in options_of(name)) is (name not in NO_DATA_ARGUMENT)


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_directory_is_named_alike_by_every_command(name: str) -> None:
    assert {"--data", "data_argument"} <= options_of(name)


def test_every_command_has_the_one_option_of_its_kind() -> None:
    context = cli.make_context("pile-tools", [], resilient_parsing=True)
    kinds: dict[str, set[type]] = {"--steps": set(), "--plot": set()}
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            for option in kinds.keys() & set(parameter.opts):
                if not (option == "--steps" and parameter.type is click.INT):  # a length: order, train
                    kinds[option].add(type(parameter.type))
    assert [len(types) for types in kinds.values()] == [1, 1]


def test_data_as_an_argument_and_as_an_option(
    tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = ["--step", "0", "--row", "0", "--format", "tokens"]
    shown = []
    for named in (["tokens"], ["--data", "tokens"], ["tokens", "--data", f"{tree}/tokens/"]):
        assert run(["batch", *named, *row]) == 0, capsys.readouterr().err
        shown.append(capsys.readouterr().out)
    assert len(set(shown)) == 1
    monkeypatch.setenv("PILE_TOOLS_DATA", "tokens-later")  # which what is typed comes before
    assert run(["batch", "tokens", *row]) == 0
    assert capsys.readouterr().out == shown[0]
    for name, others in {
        "batch": row,
        "trace": row[:4],
        "repeats": [],
        "export": ["-o", "never"],
        "merge": ["-o", "never"],
        "lineage": [],
    }.items():
        assert run([name, "tokens", "--data", "blend", *others]) == 2
        assert "DATA tokens and --data blend name two datasets" in capsys.readouterr().err
    assert run(["batch", "tokens", "--suite", "pythia", *row]) == 2
    assert "name two streams" in capsys.readouterr().err
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("steps", "span"), [("3:5", [3, 5]), ("38:", [38, 40]), (":1", [0, 1]), ("7", [7, 8])]
)
def test_steps_are_spelled_alike(
    steps: str, span: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", str(tmp_path / "output")]
    searched = answer(capsys, "find", "order", "--data", "tokens", "--steps", steps)["searched"]
    assert [searched["start"], searched["stop"]] == span
    assert answer(capsys, "export", "tokens", "--format", "npy", "--steps", steps, *output)["steps"] == span
    fetched = ["-o", str(tmp_path / "fetched")]
    assert answer(capsys, "fetch", "tokens", "--steps", steps, *fetched)["steps"] == span


@pytest.mark.parametrize("steps", ["", "a:b", "0-6", "1:2:3", "-1:2", "1.5"])
def test_steps_that_no_command_takes(steps: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["find", "order", "--data", "tokens"],
        ["fetch", "tokens", "-o", str(tmp_path / "fetched")],
        ["memorize", "run/step4", "tokens", "-o", str(tmp_path / "memorize.parquet")],
        ["loss", "run/step4", "tokens"],
        ["verify", "tokens"],
        ["diff", "tokens", "tokens"],
    ):
        assert run([*command, f"--steps={steps}"]) == 2
        assert "not of the form START:STOP" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_picture_of_each_format(
    suffix: str, start: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    pictures = [tmp_path / f"{name}.{suffix}" for name in ("first", "again")]
    for picture in pictures:
        assert run(["repeats", "tokens", "--plot", str(picture)]) == 0, capsys.readouterr().err
    assert pictures[0].read_bytes().startswith(start)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_suite_is_changed_and_compared(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundled = Path(suites.__file__).parent / "pythia-deduped-unshuffled.json"
    value = json.loads(bundled.read_text())
    value |= {"name": "mine", "batch_size": 8, "seq_length": 64, "steps": 40, "uncertain": [], "models": []}
    value["checkpoints"] = {"first": [0], "every": 10}
    value["order"] |= {"location": None, "num_samples": 320}
    value["dataset"] = dict.fromkeys(value["dataset"]) | {"location": str(tree / "tokens")}
    value["tokenizer"] = str(tree / "tokenizer.json")
    suite = tmp_path / "mine.json"
    suite.write_text(json.dumps(value))
    trace = ["trace", "--step", "12", "--row", "1"]
    assert answer(capsys, *trace, "--suite", str(suite)) == answer(capsys, *trace, "--data", "tokens")
    change = ["intervene", "--from-step", "10", "--drop", "3", "-o"]
    assert run([*change, str(tmp_path / "of-suite"), "--suite", str(suite)]) == 0, capsys.readouterr().err
    assert run([*change, str(tmp_path / "of-data"), "--data", "tokens"]) == 0
    capsys.readouterr()
    same = answer(capsys, "diff", str(tmp_path / "of-suite"), str(tmp_path / "of-data"))
    assert same["differing_steps"] == []
    overlay = str(tmp_path / "of-data")
    changed = answer(capsys, "diff", "tokens", overlay)["differing_steps"]
    assert changed
    assert answer(capsys, "diff", "--suite", str(suite), str(suite), overlay)["differing_steps"] == changed
