"""A local server that speaks the Hub's API as huggingface_hub calls it, counts what it sends and can fail."""

import hashlib
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"(/datasets)?/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_INFO = re.compile(
    r"/api/(datasets|models)/(?P<id>[^/]+/[^/]+)(/(?P<what>revision|tree)/(?P<revision>[^/]+))?"
)


class Hub:
    """Repositories {id: {path: bytes}} at the head of their branch main; ``push`` moves it.

    All else is how it behaves and what it has counted.

    ``faults`` are taken one for each range that is asked for, then all goes well. ``store`` serves the
    bytes from another address, to which the Hub redirects, as it does with large files. ``validators``:
    ranges come with an ETag.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, dict[str, bytes]] = {}
        self._heads: dict[str, str] = {}
        self._past: dict[tuple[str, str], dict[str, bytes]] = {}
        self.validators = True
        self.gated: set[str] = set()
        self.store = False
        self.faults: deque[str] = deque()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[str] = Counter()
        self.signature = 1
        self.lock = threading.Lock()

    def push(self, repository: str, files: dict[str, bytes]) -> str:
        """Make ``files`` the next commit of main and return it; those before stay at theirs."""
        before = self._heads.get(repository, COMMIT)
        self._past[repository, before] = self.repositories[repository]
        self.repositories[repository] = files
        self._heads[repository] = hashlib.sha1(before.encode()).hexdigest()
        return self._heads[repository]

    def at(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return the commit that ``revision`` is and its files; None for one that is not there."""
        head = self._heads.get(repository, COMMIT)
        if revision in ("main", head):
            return head, self.repositories[repository]
        files = self._past.get((repository, revision))
        return None if files is None else (revision, files)

    def ranges(self, path: str) -> int:
        """Number of ranges of a file that were asked for."""
        return self.requests["GET", path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: no waiting for its acknowledgement
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def reply(
        self, status: int, headers: dict[str, str], body: bytes = b"", length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if match := _RESOLVE.fullmatch(url.path):
            self.resolve(match["id"], unquote(match["revision"]), unquote(match["path"]))
        elif url.path.startswith("/store/"):
            self.serve_store(url)
        elif match := _INFO.fullmatch(url.path):
            self.info(match["id"], match["what"], unquote(match["revision"] or "main"))
        else:
            self.reply(404, {})

    def missing(self, code: str) -> None:
        self.reply(404, {"X-Error-Code": code, "X-Error-Message": "not there"})

    def info(self, repository: str, what: str | None, revision: str) -> None:
        self.hub.requests["INFO", repository] += 1
        if repository not in self.hub.repositories:
            self.missing("RepoNotFound")
            return
        found = self.hub.at(repository, revision)
        if found is None:
            self.missing("RevisionNotFound")
            return
        commit, files = found
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        told: object = {"id": repository, "sha": commit, "siblings": siblings}
        if what == "tree":
            told = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def resolve(self, repository: str, revision: str, path: str) -> None:
        found = self.hub.at(repository, revision) if repository in self.hub.repositories else None
        if repository in self.hub.gated:
            self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        elif repository not in self.hub.repositories:
            self.missing("RepoNotFound")
        elif found is None:
            self.missing("RevisionNotFound")
        elif path not in found[1]:
            self.missing("EntryNotFound")
        else:
            commit, files = found
            etag = hashlib.sha256(files[path]).hexdigest()
            headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
            if self.hub.store:
                self.hub.requests[self.command, f"resolve {path}"] += 1
                place = f"{self.hub.url}/store/{repository}/{commit}/{path}?signature={self.hub.signature}"
                linked = {"X-Linked-Size": str(len(files[path])), "X-Linked-ETag": f'"{etag}"'}
                self.reply(302, headers | linked | {"Location": place})
            elif self.command == "HEAD":
                self.hub.requests["HEAD", path] += 1
                self.reply(200, headers, b"", len(files[path]))
            else:
                self.serve(path, files[path], headers)

    def serve_store(self, url: Any) -> None:
        owner, name, commit, path = url.path.removeprefix("/store/").split("/", 3)
        found = self.hub.at(f"{owner}/{name}", commit)
        assert found is not None
        content = found[1][path]
        if url.query != f"signature={self.hub.signature}":
            self.reply(403, {})
        else:
            self.serve(path, content, {"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    def serve(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        with self.hub.lock:
            self.hub.requests["GET", path] += 1
            fault = self.hub.faults.popleft() if self.hub.faults else ""
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None:
            self.hub.sent[path] += len(content)
            self.reply(200, headers, content)
            return
        if not self.hub.validators:
            headers = {name: value for name, value in headers.items() if name != "ETag"}
        start, stop = int(match[1]), int(match[2]) + 1
        body = content[start:stop]
        with self.hub.lock:
            self.hub.sent[path] += len(body)
        headers = headers | {"Content-Range": f"bytes {start}-{start + len(body) - 1}/{len(content)}"}
        self.fail(fault, start, body, content, headers)

    def fail(self, fault: str, start: int, body: bytes, content: bytes, headers: dict[str, str]) -> None:
        if fault == "cut":  # the connection ends early
            self.reply(206, headers, body[: len(body) // 2], len(body))
            self.close_connection = True
        elif fault == "short":  # fewer bytes than asked for, and said so
            short = body[: len(body) // 2]
            said = f"bytes {start}-{start + len(short) - 1}/{len(content)}"
            self.reply(206, headers | {"Content-Range": said}, short)
        elif fault == "lying":  # fewer bytes than Content-Range says
            self.reply(206, headers, body[:-1])
        elif fault == "long":
            self.reply(206, headers, body + b"\0")
        elif fault == "shifted":
            said = f"bytes {start + 1}-{start + len(body)}/{len(content)}"
            self.reply(206, headers | {"Content-Range": said}, body)
        elif fault == "no range":
            self.reply(206, {name: value for name, value in headers.items() if name != "Content-Range"}, body)
        elif fault == "whole":
            self.reply(200, headers, content)
        elif fault == "416":
            self.reply(416, {"Content-Range": f"bytes */{start}"})
        elif fault == "etag":
            self.reply(206, headers | {"ETag": '"other"'}, body)
        elif fault == "grown":
            said = f"bytes {start}-{start + len(body) - 1}/{len(content) + 5}"
            self.reply(206, headers | {"Content-Range": said}, body)
        elif fault == "late":
            time.sleep(0.4)
            self.reply(206, headers, body)
        elif fault == "429":
            self.reply(429, {"Retry-After": "0"})
        elif fault.isdigit():
            self.reply(int(fault), {})
        else:
            self.reply(206, headers, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gave up waiting


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a server for the block; ``Hub.url`` is its address."""
    handler = type("Handler", (_Handler,), {})
    with _Server(("127.0.0.1", 0), handler) as server:
        hub = handler.hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use_as_hub(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    """Make ``hub`` the Hub of huggingface_hub in this process, as HF_ENDPOINT does from its start."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )


def publish(hub: Hub, directory: Path, repository: str = "owner/name") -> str:
    """Publish the files of a directory as a repository and return its URL."""
    hub.repositories[repository] = {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    return f"hf://datasets/{repository}"
