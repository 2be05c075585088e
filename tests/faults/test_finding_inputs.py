"""What a search for the shards of a corpus meets: nothing is left out without a word, and nothing hangs."""

import gzip
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pile_tools_cli.main import run

from pile_tools.errors import ParameterError, PileToolsError, UnfinishedError
from pile_tools.formats.corpus import UNFINISHED_NAME, find_corpus, list_shards
from pile_tools.formats.history import History
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.store import LocalStore
from pile_tools.formats.token_dataset import TokenDataset
from pile_tools.stages.lineage import addresses
from pile_tools.stages.trace import SourceTexts


def write(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def names(*inputs: Path | str) -> list[str]:
    return [shard.name for shard in list_shards(inputs)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write(tmp_path / "in/a.jsonl", "one two three")
    write(tmp_path / "in/sub/b.jsonl", "four five six")
    return tmp_path / "in"


def refuse_to_scan(monkeypatch: pytest.MonkeyPatch, refused: Path) -> None:
    """Root may read every folder, so the refusal of the system is made up."""
    scan: Callable[[Any], Any] = os.scandir

    def scandir(path: Any = ".") -> Any:
        if Path(path) == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("pattern", ["", "**/*.jsonl", "*/*.jsonl"])
def test_a_folder_that_cannot_be_read(corpus: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_to_scan(monkeypatch, corpus / "sub")
    with pytest.raises(PileToolsError, match=r"in/sub: a folder .* \(Permission denied\)"):
        list_shards([str(corpus / pattern)])


@pytest.mark.parametrize("link", ["d.jsonl", "sub/folder", "other"])
@pytest.mark.parametrize("pattern", ["", "**/*"])
def test_a_link_to_nothing(corpus: Path, link: str, pattern: str) -> None:
    (corpus / link).symlink_to("gone")
    with pytest.raises(PileToolsError, match=rf"{link}: a link to gone, which cannot be read"):
        list_shards([str(corpus / pattern)])
    with pytest.raises(PileToolsError, match="a link to gone"):
        list_shards([corpus / link])


def test_a_link_to_itself(corpus: Path) -> None:
    (corpus / "d.jsonl").symlink_to("d.jsonl")
    with pytest.raises(PileToolsError, match=r"d\.jsonl: a link to d\.jsonl"):
        list_shards([corpus])


def test_a_linked_folder_is_searched(corpus: Path, tmp_path: Path) -> None:
    write(tmp_path / "real/c.jsonl", "seven")
    (corpus / "linked").symlink_to("../real")
    assert names(corpus) == ["a.jsonl", "linked/c.jsonl", "sub/b.jsonl"]
    assert names(str(corpus / "**/*.jsonl")) == ["a.jsonl", "b.jsonl", "c.jsonl"]


@pytest.mark.parametrize("target", [".", "sub", "..", "../in/sub"])
def test_a_folder_that_links_lead_to_is_searched_once(corpus: Path, target: str) -> None:
    (corpus / "again").symlink_to(target)
    found = find_corpus([corpus])
    assert [shard.name for shard in found.shards if "again" not in shard.name] == ["a.jsonl", "sub/b.jsonl"]
    assert len({shard.path.resolve() for shard in found.shards}) == len(found.shards) == 2
    assert found.passed_over == {"link": 1}
    assert len(list_shards([str(corpus / "**/*.jsonl")])) == 2


@pytest.mark.parametrize("make", [os.link, os.symlink])
def test_one_file_under_two_names(corpus: Path, make: Callable[[Path, Path], None]) -> None:
    make(corpus / "a.jsonl", corpus / "sub/c.jsonl")
    for given in ([corpus], [str(corpus / "**/*.jsonl")], [corpus / "a.jsonl", corpus / "sub/c.jsonl"]):
        with pytest.raises(ParameterError, match=r"in/a\.jsonl and .*in/sub/c\.jsonl: one file"):
            list_shards(given)


def test_one_folder_given_in_two_ways(corpus: Path) -> None:
    with pytest.raises(ParameterError, match=r"in/sub/b\.jsonl and .*in/sub/b\.jsonl: one file"):
        list_shards([corpus, corpus / "sub"])


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("b.json.gz", "rename it to b.jsonl.gz"),
        ("b.ndjson", "rename it to b.jsonl"),
        ("b.NDJSON.zst", "rename it to b.jsonl.zst"),
        ("b.jsonl.zstd", "rename it to b.jsonl.zst"),
        ("B.JSONL", "rename it to B.jsonl"),
        ("b.Parquet", "rename it to b.parquet"),
        ("b.jsonl.xz", "unpack it"),
        ("b.jsonl.bz2", "unpack it"),
        ("b.tar", "unpack it"),
        ("b.txt", "by a pattern"),
        ("b.csv", "move it away"),
        ("README.json.gz", "rename it to README.jsonl.gz"),
        ("b", "move it away"),
    ],
)
def test_a_name_of_another_kind(corpus: Path, name: str, remedy: str) -> None:
    (corpus / name).write_bytes(gzip.compress(b'{"text": "seven"}\n'))
    with pytest.raises(ParameterError, match=rf"{name}: not a shard; .*{remedy}"):
        list_shards([corpus])
    if not name.endswith(".txt"):
        for given in (corpus / name, str(corpus / "*")):
            with pytest.raises(ParameterError, match=rf"{name}: not a shard; .*{remedy}"):
                list_shards([given])


def test_what_is_passed_over_is_counted(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("README.md", "LICENSE", "SHA256SUMS.txt", "_SUCCESS", "stats.json", ".hidden.jsonl"):
        (corpus / name).touch()
    (corpus / ".cache").mkdir()
    (corpus / ".cache/c.jsonl").touch()
    assert run(["dedup", str(corpus), "-o", str(tmp_path / "kept"), "--workers", "1", "--json"]) == 0
    printed = capsys.readouterr()
    expected = {"description": 4, "hidden": 2, "json": 1}
    assert json.loads(printed.out)["passed_over"] == expected
    assert printed.err == (
        "passed over: 4 README files and the like, 2 hidden files or folders, 1 .json files\n"
    )
    assert Manifest.read(tmp_path / "kept").counts["passed_over"] == expected


def test_a_directory_of_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "c4-train.json").touch()
    with pytest.raises(PileToolsError, match=r"no shards in it; .*1 \.json files"):
        list_shards([tmp_path])


def test_a_named_pipe_and_a_socket(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    assert run(["dedup", str(tmp_path / "p.jsonl"), "-o", str(tmp_path / "kept")]) == 1
    assert "p.jsonl: a named pipe" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
    (corpus / "linked.jsonl").symlink_to(tmp_path / "p.jsonl")
    for given in (corpus, str(corpus / "*.jsonl"), corpus / "linked.jsonl"):
        with pytest.raises(PileToolsError, match=r"linked\.jsonl: a named pipe"):
            list_shards([given])
    (corpus / "linked.jsonl").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(corpus / "s.jsonl"))
        with pytest.raises(PileToolsError, match=r"s\.jsonl: a socket"):
            list_shards([corpus])


def test_a_pattern_stands_for_folders_too(corpus: Path, tmp_path: Path) -> None:
    assert names(str(tmp_path / "i*")) == ["a.jsonl", "sub/b.jsonl"]
    assert names(str(tmp_path / "in/*")) == ["a.jsonl", "b.jsonl"]
    assert names(str(tmp_path / "in/**")) == names(str(tmp_path / "**/*")) == ["a.jsonl", "b.jsonl"]


# Outputs of stages, wherever they are.


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Two deduplicated corpora whose shards have the same names, and in one case the same content."""
    for year in ("2023", "2024"):
        write(tmp_path / f"raw{year}/00.jsonl", "the same text", "the same text", f"only in {year}")
        write(tmp_path / f"raw{year}/sub/1.jsonl", f"{year} a b c", f"{year} d e f")
        if year == "2024":
            write(tmp_path / "raw2024/00.jsonl", "only in 2023", "the same text", "only in 2023")
        out = tmp_path / f"all/kept-{year}"
        assert run(["dedup", str(tmp_path / f"raw{year}"), "-o", str(out), "--exact", "--workers", "1"]) == 0
    return tmp_path / "all"


def parents(*inputs: Path | str) -> dict[str, str | None]:
    return {shard.name: shard.parent for shard in list_shards(inputs)}


def test_outputs_are_known_wherever_they_are(outputs: Path) -> None:
    first, second = (Manifest.read(outputs / f"kept-{year}").identity for year in ("2023", "2024"))
    expected = {
        "kept-2023/00.jsonl": first,
        "kept-2023/sub/1.jsonl": first,
        "kept-2024/00.jsonl": second,
        "kept-2024/sub/1.jsonl": second,
    }
    both = (outputs / "kept-2024", outputs / "kept-2023")
    assert parents(outputs) == parents(*both) == parents(str(outputs / "kept-*")) == expected
    assert parents(str(outputs / "kept-202?/*.jsonl")).items() <= expected.items()
    assert parents(outputs / "kept-2023/sub") == {"sub/1.jsonl": first}
    assert parents(str(outputs / "kept-2023/sub/*.jsonl")) == {"sub/1.jsonl": first}
    assert parents(outputs / "kept-2023/sub/1.jsonl") == {"sub/1.jsonl": first}
    (outputs.parent / "link").symlink_to(outputs / "kept-2023/sub")
    assert parents(outputs.parent / "link") == {"sub/1.jsonl": first}


def test_directories_of_one_name_are_told_apart_by_those_above(tmp_path: Path) -> None:
    for folder in ("a/x/in", "b/x/in", "b/y"):
        write(tmp_path / folder / "00.jsonl", folder)
    assert names(tmp_path / "a/x/in", tmp_path / "b/y") == ["in/00.jsonl", "y/00.jsonl"]
    assert names(*(tmp_path / f for f in ("b/x/in", "a/x/in"))) == ["a/x/in/00.jsonl", "b/x/in/00.jsonl"]


def test_an_unfinished_output_is_refused_wherever_it_is(outputs: Path) -> None:
    (outputs / "kept-2023" / UNFINISHED_NAME).mkdir()
    sub = outputs / "kept-2023/sub"
    for given in (outputs, sub, sub / "1.jsonl", str(sub / "*"), str(outputs / "**/*.jsonl")):
        with pytest.raises(UnfinishedError, match="kept-2023: unfinished"):
            list_shards([given])


def test_a_token_dataset_is_no_part_of_a_corpus(outputs: Path) -> None:
    Manifest("tokenize", {}, [], []).write(write(outputs / "tokens/x.jsonl", "a").parent)
    with pytest.raises(ParameterError, match="tokens: the output of `pile-tools tokenize`"):
        list_shards([outputs])


def test_a_file_that_the_manifest_does_not_list(outputs: Path) -> None:
    for name in ("kept-2023/extra.jsonl", "kept-2023/sub/extra.jsonl"):
        added = write(outputs / name, "more")
        for given in (outputs, added.parent):
            with pytest.raises(PileToolsError, match=r"extra\.jsonl: named like a shard, but .*manifest"):
                list_shards([given])
        added.unlink()
    assert len(names(outputs)) == 4


@pytest.mark.parametrize("given", ["all", "kept-*", "two"])
def test_a_token_leads_back_through_the_right_output(
    outputs: Path, given: str, demo_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Row 0 of kept-2023/00.jsonl and of kept-2024/00.jsonl were other rows of files of the same name.
    inputs = {
        "all": [outputs],
        "kept-*": [str(outputs / "kept-*")],
        "two": [outputs / "kept-2023", outputs / "kept-2024"],
    }[given]
    tokens = outputs.parent / "tokens"
    assert run(["tokenize", *map(str, inputs), "-o", str(tokens), "--tokenizer", str(demo_corpus)]) == 0
    capsys.readouterr()
    assert run(["lineage", str(tokens), "--json"]) == 0
    stages = [link["stage"] for link in json.loads(capsys.readouterr().out)["chain"]]
    assert stages == ["tokenize", "dedup", "dedup"]
    history = History.open(LocalStore(tokens))
    for shard in (entry.name for entry in history.own.inputs):
        lines = (outputs / shard).read_text().splitlines()
        for row, line in enumerate(lines):
            origin = addresses(history, shard, row)[-1]
            raw = outputs.parent / shard.split("/")[0].replace("kept-", "raw") / origin.shard
            assert raw.read_text().splitlines()[origin.row] == line
            assert origin.stage == "dedup"
    dataset = TokenDataset.open(tokens)
    for corpora in ([], inputs, [outputs / "kept-2024"]):
        assert SourceTexts(dataset, corpora).text(len(dataset.sizes) - 1) == "2024 d e f"


def test_outputs_of_equal_content_lead_back_to_their_own_input(tmp_path: Path, demo_corpus: Path) -> None:
    # Both leave the same shard, but of other rows.
    write(tmp_path / "x/00.jsonl", "one", "one", "two")
    write(tmp_path / "y/00.jsonl", "one", "two", "two")
    for name in ("x", "y"):
        assert run(["dedup", str(tmp_path / name), "-o", str(tmp_path / f"k{name}"), "--exact"]) == 0
    assert (tmp_path / "kx/00.jsonl").read_bytes() == (tmp_path / "ky/00.jsonl").read_bytes()
    both = [str(tmp_path / "kx"), str(tmp_path / "ky")]
    assert run(["tokenize", *both, "-o", str(tmp_path / "t"), "--tokenizer", str(demo_corpus)]) == 0
    history = History.open(LocalStore(tmp_path / "t"))
    assert [addresses(history, "kx/00.jsonl", 1)[-1].row, addresses(history, "ky/00.jsonl", 1)[-1].row] == [
        2,
        1,
    ]
