"""A server on the loopback that speaks as much of W&B's protocol as `wandb sync` asks for: it keeps what it is sent.

Runs, their curves by line, and files; questions come as GraphQL, lines through `file_stream`, each with its offset.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "a-person"


@dataclass
class Kept:
    """What the server has of one run."""

    project: str
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    """Lines of each stream, by their number."""
    files: dict[str, bytes] = field(default_factory=dict)

    def points(self, name: str) -> list[tuple[int, float]]:
        """A curve: our step and the value, in the order in which it is kept."""
        history = self.lines.get("wandb-history.jsonl", {})
        rows = [json.loads(line) for _, line in sorted(history.items())]
        return [(row["step"], row[name]) for row in rows if name in row]


class Service:
    """The server as a test handles it."""

    def __init__(self, token: str) -> None:
        self.authorization = "Basic " + base64.b64encode(f"api:{token}".encode()).decode()
        self.runs: dict[str, Kept] = {}
        self.url = ""


@contextmanager
def serving(token: str) -> Iterator[Service]:
    """A server that lets one token in, until the block ends."""
    service = Service(token)
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    service: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        if self.headers.get("Authorization") != self.service.authorization:
            self._answer(401, {"errors": [{"message": "this token is not known"}]})
        elif self.path == "/graphql":
            asked = json.loads(body)
            self._answer(200, {"data": self._graphql(asked.get("operationName"), asked.get("variables") or {})})
        elif self.path.endswith("/file_stream"):
            self._stream(self.service.runs[self.path.split("/")[-2]], json.loads(body))
            self._answer(200, {})
        else:
            self._answer(404, {})

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        self.service.runs[run].files[name] = self._body()
        self._answer(200, {})

    def _graphql(self, operation: str | None, asked: dict[str, Any]) -> dict[str, Any]:
        if operation == "RunResumeStatus":
            return {"model": {"id": "p", "name": asked["project"], "bucket": self._bucket(asked["name"])}}
        if operation == "UpsertBucket":
            self.service.runs.setdefault(asked["name"], Kept(asked["project"]))
            return {"upsertBucket": {"bucket": self._bucket(asked["name"]), "inserted": True}}
        if operation == "CreateRunFiles":
            place = f"{self.service.url}/put/{asked['run']}"
            files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in asked["files"]]
            return {"createRunFiles": {"runID": asked["run"], "uploadHeaders": [], "files": files}}
        return {}

    def _bucket(self, name: str) -> dict[str, Any] | None:
        kept = self.service.runs.get(name)
        if kept is None:
            return None
        history = kept.lines.get("wandb-history.jsonl", {})
        return {
            "id": name, "name": name, "displayName": name, "config": "{}", "summaryMetrics": "{}", "wandbConfig": "{}",
            "historyLineCount": len(history), "eventsLineCount": 0, "logLineCount": 0, "eventsTail": "[]",
            "historyTail": json.dumps([history[max(history)]] if history else []),
            "project": {"id": "p", "name": kept.project, "entity": {"id": "e", "name": ENTITY}},
        }  # fmt: skip

    def _stream(self, kept: Kept, said: dict[str, Any]) -> None:
        for name, part in (said.get("files") or {}).items():
            lines = kept.lines.setdefault(name, {})
            lines.update(enumerate(part["content"], part["offset"]))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, code: int, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
