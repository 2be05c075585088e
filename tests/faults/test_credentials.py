"""Passwords, tokens and signatures in URLs: needed to read, and in no file, stream or log that we write."""

import base64
import json
import logging
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pytest
from pile_tools_cli.main import COMMANDS, run

from pile_tools import BatchViewer
from pile_tools.errors import DataError, PileToolsError
from pile_tools.formats import retry
from pile_tools.formats.fsspec_source import FsspecSource
from pile_tools.formats.manifest import Manifest
from pile_tools.formats.store import open_store
from pile_tools.formats.urls import (
    CREDENTIALS_VARIABLE,
    child,
    joined,
    redacted,
    split_last,
    with_credentials,
    without_credentials,
)

SECRET = "s3cr3t-Pa55-0123456789"
QUERY = f"X-Amz-Signature={SECRET}&X-Amz-Expires=60"


class _Handler(BaseHTTPRequestHandler):
    """Ranges of the files below ``root`` for those who send the password, or the signature, of its demand."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    root: Path
    demand: str

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _is_allowed(self, query: str) -> bool:
        if self.demand == "basic":
            expected = base64.b64encode(f"alice:{SECRET}".encode()).decode()
            return self.headers.get("Authorization") == f"Basic {expected}"
        return parse_qs(query).get("X-Amz-Signature") == [SECRET]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = self.root / unquote(url.path).lstrip("/")
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status, body, headers = 401, b"", {}
        if self._is_allowed(url.query):
            status = 404
            if path.is_file() and match is not None:
                content = path.read_bytes()
                status, body = 206, content[int(match[1]) : int(match[2]) + 1]
                last = int(match[1]) + len(body) - 1
                headers = {"Content-Range": f"bytes {match[1]}-{last}/{len(content)}", "ETag": '"1"'}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, demo_corpus: Path) -> Path:
    """What the servers serve: ``tokens`` with an order and its digests."""
    root = tmp_path_factory.mktemp("served")
    tokens = str(root / "tokens")
    shard = str(next(iter(sorted(demo_corpus.glob("*.jsonl*")))))
    assert run(["tokenize", shard, "-o", tokens, "--tokenizer", str(demo_corpus)]) == 0
    assert run(["order", tokens, "--seq-length", "32", "--batch-size", "4", "--steps", "8"]) == 0
    assert run(["digest", "--data", tokens]) == 0
    return root


@pytest.fixture(scope="module", params=["basic", "signature"])
def server(request: pytest.FixtureRequest, root: Path) -> Iterator[tuple[str, str]]:
    """A server that demands a password or a signature: its address, and which of them."""
    handler = type("Handler", (_Handler,), {"root": root, "demand": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{http.server_address[1]}", request.param
        http.shutdown()
        thread.join()


def whole(server: tuple[str, str], path: str, secret: str = SECRET) -> str:
    host, demand = server
    if demand == "basic":
        return f"http://alice:{secret}@{host}/{path}"
    return f"http://{host}/{path}?{QUERY.replace(SECRET, secret)}"


@pytest.fixture
def url(server: tuple[str, str]) -> str:
    return whole(server, "tokens")


@pytest.fixture
def bare(server: tuple[str, str]) -> str:
    return f"http://{server[0]}/tokens"


def stored_in(directory: Path) -> list[Path]:
    """The files of ``directory`` that hold the secret, in their bytes or their names."""
    return [
        path
        for path in directory.rglob("*")
        if SECRET in str(path) or (path.is_file() and SECRET.encode() in path.read_bytes())
    ]


# How each command that reads a stream is given its URL.
READING: dict[str, list[str]] = {
    "batch": ["--data", "URL", "--step", "0", "--tokenizer", "LOCAL"],
    "trace": ["--data", "URL", "--step", "0", "--row", "0", "--json"],
    "seen": ["--data", "URL", "--document", "0", "--json"],
    "find": ["--data", "URL", "import", "--json"],
    "count": ["--data", "URL", "--terms", "OUT/terms.txt", "-o", "OUT/counts.parquet"],
    "repeats": ["--data", "URL"],
    "mixture": ["--data", "URL", "--json"],
    "export": ["--data", "URL", "--steps", "0:2", "--format", "mmidx", "-o", "OUT/export"],
    "diff": ["URL", "LOCAL"],
    "digest": ["--data", "URL", "-o", "OUT/digests", "--json"],
    "fetch": ["--data", "URL", "--steps", "0:2", "-o", "OUT/fetched"],
    "verify": ["URL", "--json"],
    "intervene": [
        *("--data", "URL", "--from-step", "0", "--swap", "OUT/swaps.tsv"),
        *("--tokenizer", "LOCAL", "-o", "OUT/overlay"),
    ],
    "order": ["URL", "--seq-length", "16", "--batch-size", "4", "--steps", "4", "-o", "OUT/order"],
}
# Commands that end before they read it: the model is not there, or they read files of this machine only.
NOT_READING: dict[str, list[str]] = {
    "train": ["--data", "URL", "--model", "OUT/none.json", "--steps", "1", "-o", "OUT/run"],
    "memorize": ["OUT/none", "--data", "URL", "--steps", "0:1", "-o", "OUT/memorize.parquet"],
    "memorize-report": ["OUT/none.parquet", "--data", "URL"],
    "loss": ["OUT/none", "--data", "URL", "--steps", "0:1", "-o", "OUT/loss.parquet"],
    "arithmetic": ["OUT/none", "--tokenizer", "URL"],
    "dedup": ["URL", "-o", "OUT/kept"],
    "tokenize": ["URL", "-o", "OUT/tokens", "--tokenizer", "URL"],
    "merge": ["URL", "-o", "OUT/merged"],
    "split": ["URL", "--shard-bytes", "100", "-o", "OUT/split"],
    "explain": ["URL", "shard", "0"],
    "lineage": ["URL"],
    "card": ["URL"],
    "checkpoints": ["--suite", "URL"],
}
# What takes no location.
OTHERS = {"suites", "demo"}


def test_every_command_is_driven() -> None:
    assert READING.keys() | NOT_READING.keys() | OTHERS == COMMANDS.keys()


@pytest.mark.parametrize("command", READING)
def test_a_command_neither_stores_nor_shows_credentials(
    command: str,
    url: str,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "terms.txt").write_text("import\n")
    (tmp_path / "swaps.tsv").write_text(" import\t return\n")
    given = {"URL": url, "LOCAL": str(root / "tokens")}
    arguments = [given.get(one, one.replace("OUT", str(tmp_path))) for one in READING[command]]
    with caplog.at_level(logging.DEBUG):
        code = run([command, *arguments])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert SECRET not in said.out + said.err
    assert SECRET not in caplog.text
    assert not stored_in(tmp_path)


@pytest.mark.parametrize("command", NOT_READING)
def test_a_command_that_ends_early_does_not_show_credentials(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    url = f"http://alice:{SECRET}@127.0.0.1:9/tokens?{QUERY}"
    arguments = [url if one == "URL" else one.replace("OUT", str(tmp_path)) for one in NOT_READING[command]]
    assert run([command, *arguments]) != 0
    said = capsys.readouterr()
    assert "defect" not in said.err
    assert SECRET not in said.out + said.err
    assert not stored_in(tmp_path)


def test_a_blend_and_an_order_like_another(
    url: str, bare: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--seq-length", "32", "--batch-size", "4", "--steps", "4"]
    blended = ["order", "--data", url, "--weight", "0.5", "--data", str(root / "tokens"), "--weight", "0.5"]
    assert run([*blended, *common, "-o", str(tmp_path / "blend")]) == 0
    arguments = [
        "order",
        str(root / "tokens"),
        "--like",
        url,
        "--seq-length",
        "16",
        "-o",
        str(tmp_path / "like"),
    ]
    assert run(arguments) == 0
    assert SECRET not in "".join(capsys.readouterr())
    assert not stored_in(tmp_path)
    record = json.loads((tmp_path / "blend/order.json").read_bytes())
    assert record["parts"][0]["data"] == f"{bare}/document"


def test_what_was_stored_without_credentials_is_opened_with_those_of_the_environment(
    url: str,
    bare: str,
    root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "swaps.tsv").write_text(" import\t return\n")
    overlay = tmp_path / "overlay"
    arguments = ["intervene", "--data", url, "--from-step", "0", "--swap", str(tmp_path / "swaps.tsv")]
    assert run([*arguments, "--tokenizer", str(root / "tokens"), "-o", str(overlay)]) == 0
    assert json.loads((overlay / "parent.json").read_bytes())["location"] == bare
    show = ["batch", "--data", str(overlay), "--step", "0"]
    capsys.readouterr()
    assert run(show) == 1
    said = capsys.readouterr().err
    assert CREDENTIALS_VARIABLE in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv(CREDENTIALS_VARIABLE, f"http://other.invalid/?token=x {url}")
    assert run(show) == 0
    monkeypatch.setenv(CREDENTIALS_VARIABLE, url.replace("/tokens", ""))
    assert run(show) == 0
    assert SECRET not in "".join(capsys.readouterr())


def test_a_stream_is_the_same_whatever_opens_it(server: tuple[str, str], url: str, bare: str) -> None:
    """Names and identities hold no credentials: a signature changes from day to day, and the bytes do not."""
    viewer = BatchViewer.open(url)
    assert viewer.dataset.name == f"{bare}/document"
    other = BatchViewer.open(f"{url}&day=2" if server[1] == "signature" else url)
    assert other.identity == viewer.identity
    prefix = BatchViewer.open(whole(server, "tokens/document.idx"))
    assert prefix.identity == viewer.identity


def test_wrong_credentials(server: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    wrong = "wr0ng-Pa55"
    assert run(["batch", "--data", whole(server, "tokens", wrong), "--step", "0"]) == 1
    said = capsys.readouterr().err
    assert "refuses (401)" in said
    assert wrong not in said


@pytest.mark.parametrize(
    "url",
    [
        f"http://alice:{SECRET}@host:8/tokens",
        f"http://{SECRET}@host/tokens",
        f"https://host/tokens?token={SECRET}",
        f"https://host/tokens?X-Amz-Signature={SECRET}#f",
        f"https://host/tokens#{SECRET}",
        f"HTTP://alice:{SECRET}@host/tokens",
        f"http://alice:x@{SECRET}@host/tokens",
        f"http://alice:a::{SECRET}@host/tokens",
        f"http://alice:{SECRET}/x@host/tokens",
        f"http://alice:{SECRET}?x@host/tokens",
        f"http://alice:{SECRET}#x@host/tokens",
        f"s3://key:{SECRET}@bucket/tokens",
        f"ftp://alice:{SECRET}@host/tokens",
        f"simplecache::https://alice:{SECRET}@host/tokens?token={SECRET}",
        f"zip://a.jsonl::https://host/tokens.zip?token={SECRET}",
        f"http:/alice:{SECRET}@host/tokens",
    ],
)
def test_urls_without_credentials(url: str) -> None:
    assert SECRET not in without_credentials(url)
    assert without_credentials(without_credentials(url)) == without_credentials(url)
    for text in (f"{url}: no such file", f"'{url}', and then", f"see {url}; or {url}.", f"no order '{url}'"):
        assert SECRET not in redacted(text)


@pytest.mark.parametrize(
    "location",
    [
        "tokens/a?b#c",
        "/data/a@b",
        "hf://datasets/me/tokens@main/folder",
        "hf://me/tokens@refs%2Fpr%2F1",
        "https://host/tokens@v1/folder",
        "http://[::1]:8000/tokens",
        "memory://a?b",
        "file:///data/a?b#c",
        "s3://bucket/a@b",
    ],
)
def test_locations_that_have_none(location: str) -> None:
    assert without_credentials(location) == location
    assert redacted(f"{location}: no such file.") == f"{location}: no such file."


def test_credentials_go_to_what_is_below_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    known = f"http://u:{SECRET}@host/data https://host/data?t={SECRET} http://host/data/deep?k=1"
    monkeypatch.setenv(CREDENTIALS_VARIABLE, known)
    assert with_credentials("http://host/data/x") == f"http://u:{SECRET}@host/data/x"
    assert with_credentials("http://host/data") == f"http://u:{SECRET}@host/data"
    assert with_credentials("https://host/data/x") == f"https://host/data/x?t={SECRET}"
    assert with_credentials("http://host/data/deep/x") == "http://host/data/deep/x?k=1"
    for other in ("http://host/database", "http://host/", "http://host.evil/data", "http://evil/host/data"):
        assert with_credentials(other) == other
    given = "http://me:mine@host/data/x"
    assert with_credentials(given) == given


def test_paths_of_urls_with_credentials() -> None:
    base = f"http://u:{SECRET}@host/a/b/?t={SECRET}"
    assert child(base, "x.bin") == f"http://u:{SECRET}@host/a/b/x.bin?t={SECRET}"
    # A name is no part of a URL: what means something there is quoted.
    assert child("http://host/a", "50%?#.bin") == "http://host/a/50%25%3F%23.bin"
    assert split_last("http://host/a/50%25.idx?sig=x/y") == ("http://host/a?sig=x/y", "50%.idx")
    assert joined(base, "../c/document") == f"http://u:{SECRET}@host/a/c/document?t={SECRET}"
    # A location that climbs above the host would take the credentials to another one.
    assert joined(base, "../../../../evil.example/x") == f"http://u:{SECRET}@host/evil.example/x?t={SECRET}"
    assert joined(base, "http://other/x") == "http://other/x"
    for location in ("file:///etc", "local:///etc", "simplecache::file:///etc"):
        with pytest.raises(DataError, match="of this machine"):
            joined(base, location)


def test_what_other_file_systems_say(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://folder/a.bin::https://u:{SECRET}@host/x?token={SECRET}"
    with pytest.raises(PileToolsError) as caught:
        FsspecSource(url)
    assert SECRET not in str(caught.value)
    system = fsspec.filesystem("memory")
    system.pipe("/credentials/a.bin", b"x")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError(f"403 for https://host/x?token={SECRET}")

    monkeypatch.setattr(type(system), "info", refuse)
    monkeypatch.setattr(retry, "sleep", lambda seconds: None)
    with pytest.raises(PileToolsError, match="configuration of fsspec") as caught:
        FsspecSource("memory://credentials/a.bin")
    assert SECRET not in str(caught.value)


def test_a_store_shows_its_name_and_opens_its_location(url: str, bare: str) -> None:
    store = open_store(url)
    assert (store.name, store.location) == (bare, url)
    content = store.read("manifest.json")
    assert content is not None
    assert Manifest.parse(content, "manifest.json").stage == "tokenize"
