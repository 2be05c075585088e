"""`pile-tools tokenize` as it is typed: what it prints, what it ends with."""

import json
from pathlib import Path

import pytest
from pile_tools_cli.main import run

LINE = '{{"text": "{}", "meta": {{"pile_set_name": "{}"}}}}\n'


@pytest.fixture
def arguments(demo_corpus: Path, tmp_path: Path) -> list[str]:
    lines = [("one two", "A"), ("three", "B"), ("", "A")]
    (tmp_path / "in.jsonl").write_text("".join(LINE.format(*line) for line in lines))
    tokenizer = str(demo_corpus / "tokenizer.json")
    return ["tokenize", str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out"), "--tokenizer", tokenizer]


def test_summary_by_source(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0] == ["source", "documents", "text", "bytes", "tokens"]
    assert lines[1][:3] == ["A", "2", "7"]
    assert lines[2][:3] == ["B", "1", "5"]
    assert lines[3][:3] == ["all", "3", "12"]
    tokens = int(lines[3][3])
    assert (tmp_path / "out/document.bin").stat().st_size == 2 * tokens
    assert "1 empty documents" in printed.out
    assert "encoded by fastokens, 3 documents judged equal by tokenizers" in printed.out
    assert printed.out.endswith(f"{tmp_path / 'out'}: uint16 tokens\n")


def test_json_is_one_object(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*arguments, "--json", "--encoder", "tokenizers"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["documents"], first["text_bytes"], first["dtype"]) == (3, 12, "uint16")
    assert first["sources"]["B"]["documents"] == 1
    assert first["encoder"] == {"name": "tokenizers", "because": "it was asked for"}
    # Asked again, a finished directory answers the same.
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == first


@pytest.mark.parametrize("written", ["4", "4e0", "0.4e1", "4 B"])
def test_shard_bytes_as_people_write_them(written: str, arguments: list[str], tmp_path: Path) -> None:
    assert run([*arguments, "--shard-bytes", written]) == 0
    sizes = [path.stat().st_size for path in sorted((tmp_path / "out").glob("document-*.bin"))]
    assert len(sizes) > 1
    assert set(sizes[:-1]) == {4}


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--shard-bytes", "many"], 2, "'many': not a number of bytes"),
        (["--shard-bytes", "2.5"], 2, "not a number of bytes"),
        (["--shard-bytes", "-2"], 2, "not a number of bytes"),
        (["--shard-bytes", "inf"], 2, "not a number of bytes"),
        (["--shard-bytes", "3"], 2, "must be a positive multiple of 2"),
        (["--eod-token", "<eos>"], 2, "no token '<eos>'"),
        (["--tokenizer", "missing.json"], 1, "missing.json: no such file"),
        (["missing.jsonl"], 1, "missing.jsonl"),
        (["--workers", "0"], 2, "workers"),
        (["--text-field", "body"], 3, "in.jsonl:0: no text under 'body'"),
        (["--text-field", "body", "--on-bad-record", "skip"], 3, "no documents to tokenize"),
    ],
)
def test_an_error_is_one_line(
    more: list[str], code: int, message: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, *more]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


def test_hub_id_without_network_names_the_id(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*arguments: object, **settings: object) -> str:
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert run([*arguments[:-1], "EleutherAI/gpt-neox-20b"]) == 1
    assert "EleutherAI/gpt-neox-20b: the Hub cannot be reached" in capsys.readouterr().err
