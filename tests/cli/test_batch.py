"""``pile-tools order`` and ``pile-tools batch``: what they print and how they end."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from pile_tools_cli.main import run

from pile_tools import BatchViewer
from pile_tools.stages.order.order import make_order
from tests.token_data import GOLDEN, SIZES, add_provenance, random_documents, save_tokenizer, write_dataset


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = write_dataset(tmp_path / "data", random_documents(0, SIZES)).parent
    make_order(directory, seq_length=8, batch_size=4, steps=10)
    return directory


def test_order_says_what_it_made(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = ["order", str(data), "--seq-length", "8", "--batch-size", "4", "--steps", "10"]
    assert run([*order, "--seed", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["order"] == "document_train_0_indexmap_40ns_8sl_5s"
    assert (report["steps"], report["documents"], report["tokens"]) == (10, 24, sum(SIZES))
    assert (report["epochs"], report["existed"]) == (2, False)
    assert run(order) == 0
    out = capsys.readouterr().out
    assert "there already" in out
    assert "24 documents, 280 tokens, 2 epochs, 69 samples; training reads 40 in 10 steps of 4" in out
    assert run([*order[:2], "--steps", "2", "--batch-size", "4", "-o", str(data / "orders")]) == 0
    assert (data / "orders" / "order.json").is_file()
    assert run(["order", str(data)]) == 2
    assert "number of steps" in capsys.readouterr().err
    assert run(["order", str(data / "nothing"), "--steps", "1"]) == 1


def test_text_marks_documents_and_sources(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_provenance(data, 24)
    save_tokenizer(data / "tokenizer.json", 60_000)
    assert run(["batch", "--data", str(data), "--step", "3", "--row", "1"]) == 0
    out = capsys.readouterr().out
    viewer = BatchViewer.open(data)
    assert out.startswith("=== step 3, row 1: 9 tokens\n--- document ")
    for piece in viewer.pieces(3, 1):
        span = f"tokens {piece.offset} to {piece.offset + piece.n_tokens - 1} of {SIZES[piece.document]}"
        assert f"--- document {piece.document}, {span}" in out
        assert f"from {piece.shard}:{piece.shard_row}" in out
        assert f"{piece.text}\n" in out
    assert run(["batch", "--data", str(data), "--step", "3"]) == 0
    whole = capsys.readouterr().out
    assert out in whole
    assert [line for line in whole.splitlines() if line.startswith("===")] == [
        f"=== step 3, row {row}: 9 tokens" for row in range(4)
    ]
    assert "source Web" in whole
    assert "begins" in whole
    assert "ends here" in whole


def test_json_and_tokens(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = BatchViewer.open(data).batch(3)
    for options in (["--format", "json"], ["--json"]):
        assert run(["batch", "--data", str(data), "--step", "3", "--row", "1", *options]) == 0
        value = json.loads(capsys.readouterr().out)
        assert (value["step"], value["row"], value["tokens"]) == (3, 1, batch[1].tolist())
        assert "text" not in value
        assert sum(piece["n_tokens"] for piece in value["pieces"]) == 9
    assert run(["batch", "--data", str(data), "--step", "3", "--format", "json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert [line["tokens"] for line in lines] == batch.tolist()
    assert run(["batch", "--data", str(data), "--step", "3", "--format", "tokens"]) == 0
    rows = [[int(token) for token in line.split()] for line in capsys.readouterr().out.splitlines()]
    assert rows == batch.tolist()


def test_npy(data: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    batch = BatchViewer.open(data).batch(3)
    capsysbinary.readouterr()
    assert run(["batch", "--data", str(data), "--step", "3", "--format", "npy"]) == 0
    np.testing.assert_array_equal(np.load(io.BytesIO(capsysbinary.readouterr().out)), batch)
    out = tmp_path / "out.npy"
    assert run(["batch", "--data", str(data), "--step", "3", "--format", "npy", "-o", str(out)]) == 0
    assert capsysbinary.readouterr().out == b""
    np.testing.assert_array_equal(np.load(out), batch)
    assert run(["batch", "--data", str(data), "--step", "99", "--format", "npy", "-o", str(out)]) == 1
    np.testing.assert_array_equal(np.load(out), batch)


def test_the_current_directory_and_the_environment(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    assert run(["batch", "--step", "0", "--format", "tokens"]) == 0
    first = capsys.readouterr().out
    monkeypatch.chdir(data.parent)
    monkeypatch.setenv("PILE_TOOLS_DATA", str(data))
    assert run(["batch", "--step", "0", "--format", "tokens"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--step", "10"], 1, "no step 10 at batch size 4; the last is 9"),
        (["--step", "-1"], 1, "no step -1"),
        (["--step", "0", "--row", "4"], 1, "no row 4 in a batch of 4"),
        (["--step", "0", "--order", "other"], 2, "no order 'other'; beside the dataset: document_train_0_"),
        (["--step", "0", "--format", "text"], 2, "--tokenizer"),
        (["--step", "0", "--format", "tokens", "--batch-size", "0"], 2, "batch_size 0"),
        (["--row", "0"], 2, "--step"),
    ],
)
def test_errors_are_one_line(
    options: list[str], code: int, message: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form = [] if "--format" in options else ["--format", "tokens"]
    assert run(["batch", "--data", str(data), *options, *form]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_data_errors_end_with_3(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (data / "document.bin").read_bytes()
    (data / "document.bin").write_bytes(content[:-2])
    assert run(["batch", "--data", str(data), "--step", "0"]) == 3
    assert "document.bin: 558 bytes of tokens, but document.idx describes 560" in capsys.readouterr().err


def test_several_orders_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    golden = str(GOLDEN / "neox" / "small_u16")
    arguments = ["batch", "--data", golden, "--step", "0", "--format", "tokens"]
    assert run(arguments) == 2
    assert "40ns_2048sl_1234s, document_train_0_indexmap_900ns_128sl_1234s" in capsys.readouterr().err
    named = [*arguments, "--order", "document_train_0_indexmap_900ns_128sl_1234s"]
    assert run(named) == 2
    assert "--batch-size" in capsys.readouterr().err
    assert run([*named, "--batch-size", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
