"""What a running server writes into the home folder, so that later commands find exactly that server."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from recserve.config import Config
from recserve_deployments.local_server.ports import EVERYWHERE, LOOPBACK

STATE_FILE = "server.json"
# In the environment of every process of a server, and so the one sure way to tell whose a process is.
MARKER = "RECSERVE_SERVER_ID"

Phase = Literal["starting", "deploying", "ready", "stopping", "failed"]


class ServerState(BaseModel):
    """One server of a home folder.

    Attributes:
        server_id: Random name of this start; every process of an owned server carries it.
        owned: Whether the Ray cluster was started for this server (else it was joined).
        pid: The supervisor's process, or 0 for a joined cluster.
        created: The supervisor's creation time as the kernel tells it, seconds; tells a reused pid apart.
        address: Ray's address (``host:port``), None before it is known.
        host: Host the HTTP API listens on.
        port: Port the HTTP API listens on.
        started_at: When, milliseconds since the epoch.
        phase: How far it is.
        detail: One line for people: what it is busy with, or why it failed.
        log: The supervisor's log file.
        ray_logs: Folder of Ray's own logs, replicas' logs included.
        run_directory: Sockets and Ray's session files of an owned server.
        ports: First of the ports that Serve uses beside the public one, of an owned server.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    server_id: str
    owned: bool
    pid: int = 0
    created: float = 0.0
    address: str | None = None
    host: str
    port: int
    started_at: int
    phase: Phase = "starting"
    detail: str = ""
    log: str | None = None
    ray_logs: str | None = None
    run_directory: str | None = None
    ports: int | None = None

    @property
    def url(self) -> str:
        """Where the HTTP API answers, seen from here."""
        host = self.host
        if host == EVERYWHERE:
            # A joined cluster may be elsewhere: its proxy runs beside the head of the cluster.
            host = LOOPBACK if self.owned or not self.address else self.address.rpartition(":")[0]
        return f"http://{host}:{self.port}"

    def supervisor(self) -> psutil.Process | None:
        """The supervisor's process if it is alive, None if it is gone (or its pid is somebody else's)."""
        if not self.owned or self.pid == 0:
            return None
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def processes(self) -> list[psutil.Process]:
        """Every living process of an owned server, whoever its parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get(MARKER) == self.server_id
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found


class Order(BaseModel):
    """What the starting command tells the supervisor.

    Attributes:
        state: The server to be; the supervisor fills in its own process.
        config: The whole configuration.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: ServerState
    config: Config


def read_state(home: Path) -> ServerState | None:
    """The server that the home folder tells of; None if there is none or the file is damaged."""
    try:
        return ServerState.model_validate_json((home / STATE_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def write_state(home: Path, state: ServerState) -> None:
    """Replace the state file at once, readable by its owner only."""
    handle, scratch = tempfile.mkstemp(prefix=f".{STATE_FILE}-", dir=home)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(state.model_dump(mode="json"), file, indent=1, sort_keys=True)
        file.write("\n")
    Path(scratch).replace(home / STATE_FILE)


def remove_state(home: Path, server_id: str) -> None:
    """Remove the state file if it still tells of this server."""
    state = read_state(home)
    if state is not None and state.server_id == server_id:
        (home / STATE_FILE).unlink(missing_ok=True)
