"""A live server behind a real socket, and one whose answers can be made to fail."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.recserve.api.conftest import Served, build, listening, shared
from tools.clients.writing import TYPESCRIPT, install_tools

__all__ = ["shared"]


@dataclass
class Faults:
    """ASGI middleware in front of a server: what each of the next requests meets.

    Attributes:
        app: The server.
        planned: Faults to come, the next one first: a status with a code and headers, answered instead of the
            server's answer; ``hang`` never answers, until the client leaves.
        after: The server carries the requests out before they meet their faults.
        paths: Requests that came, with their method.
        bodies: Their bodies.
    """

    app: ASGIApp
    planned: list[Any] = field(default_factory=list)
    after: bool = False
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.paths.append(f"{scope['method']} {scope['path']}")
        self.bodies.append(body)

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def nowhere(message: Message) -> None:
            pass

        if not self.planned:
            await self.app(scope, again, send)
            return
        fault = self.planned.pop(0)
        if self.after:
            await self.app(scope, again, nowhere)
        if fault == "hang":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        status, code, headers = fault
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        text = b"<html>Bad gateway</html>"
        if code is not None:
            text = json.dumps({"error": {"code": code, "message": "not now", "field": None}}).encode()
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text})


@dataclass(frozen=True)
class Live:
    """A server that listens.

    Attributes:
        url: Its address.
        served: The parts behind it.
        faults: What stands in front of it.
    """

    url: str
    served: Served
    faults: Faults


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One server for the tests of a module."""
    made = build(tmp_path_factory.mktemp("clients"))
    faults = Faults(made.app)
    with made.store, listening(faults) as url:
        yield Live(url, made, faults)


@pytest.fixture
def live(module_server: Live) -> Live:
    """The module's server, nothing planned."""
    faults = module_server.faults
    faults.planned, faults.after, faults.paths, faults.bodies = [], False, [], []
    return module_server


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def npm() -> str:
    """npm, with what the client in TypeScript is built by; skips where there is none."""
    found = shutil.which("npm")
    if found is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are missing: nothing of TypeScript can be built or run")
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(map(int, node.strip("v\n").split(".")[:2])) < (20, 19):
        pytest.skip(f"the linter needs Node.js 20.19, here is {node.strip()}")
    install_tools(found)
    return found


@pytest.fixture(scope="session")
def built(npm: str) -> str:
    """npm, once the client in TypeScript is compiled."""
    subprocess.run([npm, "run", "--silent", "build"], cwd=TYPESCRIPT, check=True)
    return npm
