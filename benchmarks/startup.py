"""How long a server takes to start, where that time goes, and how soon a killed replica is replaced.

    python -m benchmarks.startup [--home DIR] [--repeats 3] [--json OUT]

The sample data is loaded and trained in ``--home`` once; the server runs in a copy of it. Each repeat begins
with nothing of Ray running: the clock starts with ``recserve serve --detach`` and stops when
``GET /v1/health/ready`` first says that the server and all its stages are ready. The phases in between are
read from the server's log, and from the processes and logs of its replicas.

Then a replica of each deployment in turn is killed with SIGKILL while one client asks for recommendations,
one after the other. The replica counts as replaced when its successor lives and answers are complete again
and stay so. Answers are not kept by this server, so that each asks every stage.
"""

from __future__ import annotations

import argparse
import math
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import cycle
from pathlib import Path

import httpx
import psutil
from recserve_deployments.local_server import ports
from rich.console import Console
from rich.table import Table

from benchmarks.common import DEFAULT_HOME, Server, free_port, machine, scratch_home, train_once, write_json
from benchmarks.serving import USERS

DEPLOYMENTS = ("Retrieval", "Encoding", "Ranking", "Ingress")
CHANGES = {"server": {"repeats": 0}}
READY_WITHIN = 180.0
STEADY = 20
"""So many complete answers in a row are the end of a disturbance."""

_LOG_TIME = "%Y-%m-%d %H:%M:%S,%f"


@dataclass
class Start:
    """One start; all times are seconds after the command was given.

    Attributes:
        ready: ``/v1/health/ready`` says so.
        returned: The command returned.
        phases: What the server's log says, with the time that it began.
        replicas: Deployment -> when its process began, and when it had loaded its bundle.
    """

    ready: float
    returned: float
    phases: dict[str, float] = field(default_factory=dict)
    replicas: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass
class Replacement:
    """One killed replica.

    Attributes:
        deployment: Whose.
        process: Seconds until its successor's process began.
        there: Seconds until that was a replica, which imports Ray Serve first.
        complete: Seconds until answers were complete, and stayed so.
        failed: Answers that were not 200 in the meantime.
        degraded: Answers 200 that lacked something.
    """

    deployment: str
    process: float
    there: float
    complete: float
    failed: int
    degraded: int


def start(server: Server) -> Start:
    """Start a server and follow it until it is ready."""
    began = time.time()
    command = [sys.executable, "-m", "recserve", "serve", "--detach"]
    command += ["--port", str(server.port), "--home", str(server.home)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # A connection costs next to nothing, a client of httpx much; the server needs the CPU.
    while not ports.accepts(f"127.0.0.1:{server.port}"):
        _wait_on(process, began)
    while not server.healthy():
        _wait_on(process, began)
    ready = time.time() - began
    process.wait(READY_WITHIN)
    found = Start(ready, time.time() - began)
    found.phases = phases_of(server.home, began)
    for deployment in DEPLOYMENTS:
        for replica in server.replicas(deployment):
            created = replica.create_time() - began
            found.replicas[deployment] = (created, _loaded(server.home, deployment) - began)
    return found


def _wait_on(process: subprocess.Popen[bytes], began: float) -> None:
    if time.time() > began + READY_WITHIN or process.poll() not in (None, 0):
        raise SystemExit("the server does not start")
    time.sleep(0.1)


def phases_of(home: Path, began: float) -> dict[str, float]:
    """When each phase of a start began, in seconds, as the supervisor's log has it."""
    phases: dict[str, float] = {}
    for line in (home / "logs" / "server.log").read_text(encoding="utf-8").splitlines():
        found = re.match(r"^(\S+ \S+) INFO recserve.supervisor: (.*)$", line)
        if found is not None:
            at = datetime.strptime(found[1], _LOG_TIME).timestamp() - began
            phases.setdefault(re.sub(r"\(.*|(?<=deploying starting ).*, .*", "", found[2]).strip(), at)
    return phases


def _loaded(home: Path, deployment: str) -> float:
    """When the newest replica of a deployment said that it has its bundle; NaN if it did not."""
    at = float("nan")
    logs = sorted((home / "logs" / "ray" / "serve").glob(f"replica_*_{deployment}_*.log"), key=_changed)
    for line in logs[-1].read_text(encoding="utf-8").splitlines() if logs else []:
        if "serving bundle" in line:
            found = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", line)
            at = datetime.strptime(found[0], _LOG_TIME).timestamp() if found else at
    return at


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def replace(server: Server, deployment: str, users: Iterator[str]) -> Replacement:
    """Kill a replica and ask until all is well again."""
    (old, *_) = server.replicas(deployment)
    began = time.monotonic()
    old.kill()
    killed = time.time()
    result = Replacement(deployment, float("nan"), float("nan"), float("nan"), 0, 0)
    complete, row, look = float("nan"), 0, 0.0
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        while row < STEADY or math.isnan(result.there):
            if time.monotonic() > began + READY_WITHIN:
                raise SystemExit(f"{deployment} does not come back")
            body = {"user_id": next(users), "n": 10, "query": f"film number {time.monotonic()}"}
            try:
                answer = client.post("/v1/recommend", json=body)
                good = answer.status_code == 200
                degraded = bool(good and answer.json()["degraded"])
            except httpx.TransportError:
                good, degraded = False, False
            result.failed += not good
            result.degraded += degraded
            if good and not degraded:
                complete = time.monotonic() - began if row == 0 else complete
                row += 1
            else:
                row = 0
            # Going through all processes of the machine costs more than a request.
            if not math.isnan(result.there) or time.monotonic() < look:
                time.sleep(0.02)
                continue
            look = time.monotonic() + 0.2
            if (new := _successor(server, deployment, old)) is not None:
                result.there = time.monotonic() - began
                result.process = new.create_time() - killed
                # Answers before it are no proof: nobody may have needed the dead one.
                row = 0
    result.complete = complete
    return result


def _successor(server: Server, deployment: str, old: psutil.Process) -> psutil.Process | None:
    return next((replica for replica in server.replicas(deployment) if replica.pid != old.pid), None)


def show(starts: Sequence[Start], replaced: Sequence[Replacement], console: Console) -> None:
    """Medians and ranges."""
    table = Table("seconds after the command", "median", "range")

    def row(name: str, values: Sequence[float]) -> None:
        table.add_row(name, f"{statistics.median(values):.1f}", f"{min(values):.1f}-{max(values):.1f}")

    for phase in starts[0].phases:
        row(f"log: {phase}", [start.phases[phase] for start in starts if phase in start.phases])
    for deployment in starts[0].replicas:
        both = [start.replicas[deployment] for start in starts if deployment in start.replicas]
        row(f"{deployment}: process", [created for created, _ in both])
        row(f"{deployment}: bundle loaded and warm", [loaded for _, loaded in both])
    row("ready", [start.ready for start in starts])
    row("the command returned", [start.returned for start in starts])
    console.print(table)
    table = Table(
        "killed", "new process s", "is a replica s", "complete answers s (range)", "failed", "degraded"
    )
    for deployment in dict.fromkeys(replacement.deployment for replacement in replaced):
        mine = [replacement for replacement in replaced if replacement.deployment == deployment]
        complete = [replacement.complete for replacement in mine]
        table.add_row(
            deployment,
            f"{statistics.median(replacement.process for replacement in mine):.1f}",
            f"{statistics.median(replacement.there for replacement in mine):.1f}",
            f"{statistics.median(complete):.1f} ({min(complete):.1f}-{max(complete):.1f})",
            str(sum(replacement.failed for replacement in mine)),
            str(sum(replacement.degraded for replacement in mine)),
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="Write everything here.")
    options = parser.parse_args()
    console = Console(width=110)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops what was started, too
    train_once(options.home)
    starts: list[Start] = []
    replaced: list[Replacement] = []
    users = cycle(USERS)
    with scratch_home(options.home, CHANGES) as home:
        for _ in range(options.repeats):
            server = Server(home, free_port())
            try:
                starts.append(start(server))
                replaced.extend(replace(server, deployment, users) for deployment in DEPLOYMENTS)
            finally:
                server.stop()
    console.print(machine())
    show(starts, replaced, console)
    content = {
        "starts": [asdict(start) for start in starts],
        "replaced": [asdict(replacement) for replacement in replaced],
    }
    write_json(options.json, {"machine": machine(), **content})


if __name__ == "__main__":
    main()
