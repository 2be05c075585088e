"""Faults whose kind a caller can tell by the class of the error, not by its words."""

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from pile_tools import (
    BatchViewer,
    BusyError,
    ChangedError,
    DataError,
    DeniedError,
    FileAccessError,
    MismatchError,
    MissingFileError,
    OccupiedError,
    PileToolsError,
    RemoteError,
    UnanswerableError,
    UnsupportedError,
    viewer,
)
from pile_tools.corpus.shards import list_shards
from pile_tools.formats.order_json import parse_record
from pile_tools.formats.origins_json import OriginsRecord
from pile_tools.formats.overlay_json import OverlayRecord
from pile_tools.jobs.workspace import InputFile, Workspace
from pile_tools.stages.order.order import make_order
from pile_tools.storage.locks import DirectoryLock
from pile_tools.storage.manifest import Manifest
from pile_tools.storage.outputs import refuse_output
from pile_tools.storage.retry import TryAgain, retried
from pile_tools.storage.store import open_store
from tests.token_data import random_documents, write_dataset


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "tokens", random_documents(0, [40] * 10))
    make_order(tmp_path / "tokens", seq_length=8, batch_size=4, steps=10, seed=1)
    return tmp_path / "tokens"


def test_what_does_not_exist(tmp_path: Path, tokens: Path) -> None:
    (tmp_path / "other").mkdir()
    for location in (tmp_path / "absent", tmp_path / "other"):
        with pytest.raises(MissingFileError):
            BatchViewer.open(location)
    with pytest.raises(MissingFileError, match="no such file or directory"):
        list_shards([tmp_path / "absent.jsonl"])
    for path in tokens.glob("*_idx.npy"):
        path.unlink()
    (tokens / "order.json").unlink(missing_ok=True)
    for path in tokens.glob("*order.json"):
        path.unlink()
    with pytest.raises(MissingFileError, match="no order"):
        BatchViewer.open(tokens)


def test_an_order_of_another_dataset(tmp_path: Path, tokens: Path) -> None:
    write_dataset(tmp_path / "other", random_documents(1, [30] * 10))
    for path in tokens.iterdir():
        if path.suffix not in (".bin", ".idx"):
            shutil.copy(path, tmp_path / "other")
    with pytest.raises(MismatchError, match="an order of another token dataset") as caught:
        BatchViewer.open(tmp_path / "other")
    assert isinstance(caught.value, DataError)
    assert caught.value.exit_code == 3


def test_a_question_that_the_data_does_not_answer(tokens: Path) -> None:
    with pytest.raises(UnanswerableError, match=r"no documents\.parquet"):
        BatchViewer.open(tokens).mixture()


def test_an_output_that_is_in_use(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path), pytest.raises(BusyError, match="another run is at work"):
        DirectoryLock(tmp_path).__enter__()


def test_an_output_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OccupiedError, match="already holds something else"):
        Workspace(tmp_path, stage="test", parameters={}, inputs=[]).__enter__()
    with pytest.raises(OccupiedError, match="exists already"):
        refuse_output(tmp_path / "note.txt")


def test_an_input_that_changes_during_the_run(tmp_path: Path) -> None:
    source = tmp_path / "input"
    source.write_text("before")
    space = Workspace(tmp_path / "out", stage="test", parameters={}, inputs=[InputFile(source, "input")])
    with space:
        source.write_text("after it")
        with pytest.raises(ChangedError, match="changed during the run"):
            space.finish(Manifest("test", {}, [], []))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.jsonl").symlink_to(tmp_path / "absent")
    with pytest.raises(FileAccessError, match="a link to"):
        list_shards([tmp_path / "corpus"])


def test_a_url_of_an_unknown_kind() -> None:
    with pytest.raises(UnsupportedError, match="nope:// is not known"):
        open_store("nope://a").read("document.idx")


def test_a_server_that_fails_and_one_that_refuses() -> None:
    def fail() -> None:
        raise TryAgain("the server says 503", after=0.0)

    with pytest.raises(RemoteError, match="the server says 503; gave up"):
        retried(fail, "https://example.org/document.idx")
    assert issubclass(DeniedError, RemoteError)
    assert not issubclass(RemoteError, MissingFileError)


@pytest.mark.parametrize("kind", [RemoteError, DeniedError, DataError])
def test_a_failure_is_not_taken_for_absence(
    kind: type[PileToolsError], tokens: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dataset that a server does not give now is not opened as an order of the one in this directory."""

    def fail(name: str, **options: Any) -> None:
        raise kind(f"{name}: no answer")

    monkeypatch.chdir(tokens)
    monkeypatch.setattr(viewer, "find_stream", fail)
    with pytest.raises(kind, match="https-dataset: no answer"):
        viewer.open_named("https-dataset", None)


PARSERS: dict[str, Any] = {
    "manifest": Manifest.parse,
    "order": parse_record,
    "origins": OriginsRecord.parse,
    "overlay": OverlayRecord.parse,
}


@pytest.mark.parametrize("name", PARSERS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'"pile-tools"',
        b"{}",
        b'{"format": 1}',
        b'{"format": "pile-tools of tomorrow 9"}',
        b"9" * 400,
    ],
)
def test_a_record_that_is_none_is_damaged_data(name: str, content: bytes) -> None:
    with pytest.raises(DataError, match=r"^record\.json: ") as caught:
        PARSERS[name](content, "record.json")
    assert type(caught.value) is DataError
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("outside", ["../secret", "/etc/passwd", "a\\b", ""])
def test_what_a_parser_says_itself_is_not_said_again(outside: str) -> None:
    """The remedy for a name that leads out of its directory stays the one of that fault."""
    content = orjson.loads(Manifest("test", {}, [], []).to_bytes())
    content["inputs"] = [{"name": outside, "bytes": 1, "sha256": "0" * 64}]
    with pytest.raises(DataError) as caught:
        Manifest.parse(orjson.dumps(content), "manifest.json")
    assert "not a pile-tools manifest" not in str(caught.value)
    assert str(caught.value).startswith("manifest.json: ")
