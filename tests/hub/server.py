"""The small hub's server: addresses, redirects, ranges, refusals, and faults that a test asks for.

It listens on the loopback address alone, on a free port, and ends with the `with` block that holds it.
"""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.repository import Repository, etag, is_large

TOKEN = "hf_loopback"
"""The token that opens gated repositories."""
USER = "a-person"
"""Whose token it is."""
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """The hub as a test handles it: its repositories, what was asked, and the faults to come."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        """Each request: `GET /path` and, where one was given, ` bytes=N-`."""
        self.cut_after: list[int] = []
        """Connections of large files to be cut after so many bytes, one after the other."""
        self.refuse: list[tuple[int, dict[str, str]]] = []
        """Answers to give to the next requests for files: a status and headers."""
        self.corrupt: set[str] = set()
        """Large files whose contents are served with one byte changed."""
        self.tokens: set[str] = set()
        """Every token that came, of any request."""
        self.connections: list[socket.socket] = []
        self.url = ""

    def add(self, id: str, repository: Repository) -> Repository:
        """Serve a repository as `owner/name`."""
        self.repositories[id] = repository
        return repository

    def fetched(self, name: str) -> list[str]:
        """Requests for the contents of a file, by the end of its address."""
        return [line for line in self.asked if line.startswith("GET") and line.split()[1].endswith(name)]


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that serves until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        for connection in hub.connections:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[Hub]
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        """Note the connection: clients keep it open, and a hub that is down must not answer on it."""
        super().setup()
        self.hub.connections.append(self.connection)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the test's output clean."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        ranged = self.headers.get("Range")
        self.hub.asked.append(f"{self.command} {self.path}" + (f" {ranged}" if ranged else ""))
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given:
            self.hub.tokens.add(given)
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path == "/api/whoami-v2":
            self._json({"name": USER, "type": "user"}) if given == TOKEN else self._refuse(401)
        elif path.startswith("/cdn/"):
            self._contents(path)
        elif match := _API.fullmatch(path):
            self._api(match, parse_qs(address.query))
        elif match := _FILE.fullmatch(path):
            self._file(match)
        else:
            self._refuse(404, "EntryNotFound")

    def _repository(self, kind: str, id: str) -> Repository | None:
        found = self.hub.repositories.get(id)
        if found is None or found.kind != kind:
            self._refuse(401 if not self.headers.get("Authorization") else 404, "RepoNotFound")
            return None
        return found

    def _api(self, match: "re.Match[str]", query: dict[str, list[str]]) -> None:
        kind, id, what, revision, below = match.groups()
        repository = self._repository(kind, id)
        if repository is None:
            return
        if repository.at(revision or "main") is None:
            self._refuse(404, "RevisionNotFound")
        elif what == "tree":
            entries = repository.tree(below or "", query.get("recursive", ["false"])[0].lower() in ("true", "1"))
            self._refuse(404, "EntryNotFound") if entries is None else self._json(entries)
        elif what == "paths-info":
            self._json([repository.entry(name) for name in self._paths() if name in repository.files])
        else:
            self._json(repository.info(id))

    def _paths(self) -> list[str]:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if body.startswith("{"):
            paths: list[str] = json.loads(body)["paths"]
            return paths
        return parse_qs(body).get("paths", [])

    def _file(self, match: "re.Match[str]") -> None:
        dataset, id, revision, name = match.groups()
        if self.hub.refuse:
            status, headers = self.hub.refuse.pop(0)
            return self._refuse(status, headers=headers)
        repository = self._repository("datasets" if dataset else "models", id)
        if repository is None:
            return None
        if repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401 if not self.headers.get("Authorization") else 403, "GatedRepo")
        if repository.at(revision) is None:
            return self._refuse(404, "RevisionNotFound")
        if name not in repository.files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": repository.commit})
        data = repository.files[name]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{etag(data)}"'}
        if not is_large(data):
            return self._send(data, headers)
        headers |= {"X-Linked-Etag": f'"{etag(data)}"', "X-Linked-Size": str(len(data))}
        headers |= {"Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/cdn/{id}/{name}"}
        return self._head(302, headers, 0)

    def _contents(self, path: str) -> None:
        owner, name, file = path.removeprefix("/cdn/").split("/", 2)
        if "Authorization" in self.headers:
            return self._refuse(400)  # a token must not be given to another host
        data = self.hub.repositories[f"{owner}/{name}"].files[file]
        if file in self.hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self._send(data, {"ETag": f'"{etag(data)}"'})

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        status, total = 200, len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is not None:
            first, last = int(match[1]), int(match[2] or total - 1)
            if first >= total:
                return self._refuse(416, headers={"Content-Range": f"bytes */{total}"})
            status, data = 206, data[first : last + 1]
            headers = headers | {"Content-Range": f"bytes {first}-{first + len(data) - 1}/{total}"}
        self._head(status, {"Accept-Ranges": "bytes", **headers}, len(data))
        if self.command == "HEAD":
            return None
        if is_large(data) and self.hub.cut_after:
            self.wfile.write(data[: self.hub.cut_after.pop(0)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return None
        self.wfile.write(data)
        return None

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self._head(200, {"Content-Type": "application/json"}, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str = "", headers: dict[str, str] | None = None) -> None:
        about = {"X-Error-Code": code, "X-Error-Message": f"the hub says {code}"} if code else {}
        self._head(status, about | (headers or {}), 0)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
