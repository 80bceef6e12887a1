"""What a plugin that does everything wrong costs the others.

    python -m benchmarks.evil [--home DIR] [--seconds 6] [--only hang panic ...] [--json OUT]

The sample data is loaded and trained in ``--home`` once; the server runs in a copy of it, with a scenario
whose retriever, ranker, reranker, filter and explainer are evil. Users of the scenario ``home`` ask all the
time over two connections. One component after another then hangs, raises errors of every class, returns
nonsense, prints, leaks or kills its process, while the evil scenario is asked twice a second.

For each of them: the share of other users' requests that were answered and their latency, whether every
answer of the evil scenario names the culprit, and after how many seconds everything was well again.
Components that run in the ingress do not kill it here: that takes requests with it wherever only one ingress
replica runs.

Exit status 1: a request of others was not answered, a culprit was not named, or something stayed broken.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import (
    Connection,
    Server,
    arguments,
    machine,
    quantile,
    scratch_home,
    serving,
    train_once,
    write_json,
)
from benchmarks.evil.plugin import RAISES
from benchmarks.evil.site import CULPRITS, SCENARIO, STAGES, EvilSite

USERS = 600
NEIGHBOURS = 2
PAUSE_SECONDS = 0.05
ASK_SECONDS = 0.5
RECOVER_SECONDS = 60.0

WRONG: Mapping[str, tuple[str, ...]] = {
    "retriever": ("none", "shape", "batch", "dtype", "nan", "duplicates", "range", "kill"),
    "ranker": ("none", "shape", "batch", "dtype", "nan", "kill"),
    "reranker": ("none", "shape", "batch", "dtype", "duplicates", "range"),
    "filter": ("none", "shape", "batch", "dtype"),
    "explainer": ("none",),
}
HARMLESS = ("print", "leak")
"""What costs the component itself nothing."""


@dataclass
class Case:
    """One component that misbehaves in one way, and what became of it.

    Attributes:
        component: The component.
        what: The misbehaviour.
        asked: Requests of other users.
        failed: Of these, those that were not answered 200.
        latencies: Seconds of the others.
        named: Answers of the evil scenario that name the culprit.
        answers: All its answers.
        recovered: Seconds until it was well again; None if it never was.
        live: Whether the server said that it is live, throughout.
    """

    component: str
    what: str
    asked: int = 0
    failed: int = 0
    latencies: list[float] = field(default_factory=list)
    named: int = 0
    answers: int = 0
    recovered: float | None = None
    live: bool = True

    @property
    def well(self) -> bool:
        """Whether it cost nobody else anything."""
        told = self.named == self.answers or self.what in HARMLESS
        return not self.failed and told and self.recovered is not None and self.live


async def neighbour(server: Server, case: Case, number: int, over: asyncio.Event) -> None:
    """Ask for another scenario until it is over."""
    connection = Connection("127.0.0.1", server.port)
    while not over.is_set():
        number = number % USERS + 1
        started = time.perf_counter()
        try:
            status, _ = await connection.call("POST", "/v1/recommend", {"user_id": str(number)})
        except (OSError, EOFError):
            status = 0
        case.asked += 1
        case.failed += status != 200
        case.latencies.append(time.perf_counter() - started)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.close()


async def ask_evil(connection: Connection) -> tuple[int, list[str]]:
    """Status and ``degraded`` of an answer of the evil scenario."""
    body = {"user_id": "7", "scenario": "evil", "n": 5}
    status, answer = await connection.call("POST", "/v1/recommend", body)
    return status, answer.get("degraded", [])


async def measure(server: Server, site: EvilSite, case: Case, seconds: float) -> None:
    """Have a component misbehave for a while, then wait until everything is well again."""
    over = asyncio.Event()
    neighbours = [
        asyncio.create_task(neighbour(server, case, place * USERS // NEIGHBOURS, over))
        for place in range(NEIGHBOURS)
    ]
    connection = Connection("127.0.0.1", server.port)
    culprits = {CULPRITS.get(case.component, "")}
    if case.what == "kill":
        culprits.add(STAGES.get(case.component, ""))
    site.tell({case.component: case.what} if case.component else {})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status, degraded = await ask_evil(connection)
        case.answers += 1
        case.named += status == 200 and not culprits.isdisjoint(degraded)
        status, _ = await connection.call("GET", "/v1/health/live")
        case.live = case.live and status == 200
        await asyncio.sleep(ASK_SECONDS)
    site.tell({})
    started = time.monotonic()
    while time.monotonic() - started < RECOVER_SECONDS:
        status, degraded = await ask_evil(connection)
        if status == 200 and not degraded:
            case.recovered = time.monotonic() - started
            break
        await asyncio.sleep(0.1)
    over.set()
    await asyncio.gather(*neighbours)
    connection.close()


def table(quiet: Case, cases: list[Case]) -> Table:
    """All figures."""
    shown = Table(title=f"An evil plugin beside the scenario home; {machine()}")
    for name in (
        "component",
        "does",
        "others answered",
        "p50 ms",
        "p99 ms",
        "p99 / quiet",
        "named",
        "well after s",
    ):
        shown.add_column(name, justify="left" if name in ("component", "does") else "right")
    base = quantile(quiet.latencies, 0.99)
    for case in (quiet, *cases):
        p99 = quantile(case.latencies, 0.99)
        shown.add_row(
            case.component or "(quiet)",
            case.what,
            f"{case.asked - case.failed} of {case.asked}",
            f"{quantile(case.latencies, 0.5) * 1000:.0f}",
            f"{p99 * 1000:.0f}",
            f"{p99 / base:.1f}",
            f"{case.named} of {case.answers}" if case.component and case.what not in HARMLESS else "",
            "never" if case.recovered is None else f"{case.recovered:.1f}",
        )
    return shown


def run(trained: Path, seconds: float, only: Sequence[str]) -> tuple[Case, list[Case]]:
    """Measure a quiet server, then every component and misbehaviour, or only some of the latter."""
    changes: dict[str, Any] = {
        "scenarios": {"evil": dict(SCENARIO)},
        "server": {"topology": "staged", "repeats": 0},
    }
    cases = [
        Case(component, what)
        for component in CULPRITS
        for what in ("hang", *RAISES, *WRONG[component], *HARMLESS)
        if not only or what in only
    ]
    quiet = Case("", "")
    with (
        tempfile.TemporaryDirectory(prefix="recserve-evil-") as folder,
        scratch_home(trained, changes) as home,
    ):
        site = EvilSite(Path(folder))
        os.environ.update(site.environment)
        with serving(home) as server:
            asyncio.run(measure(server, site, Case("", ""), seconds))  # everything has been called once
            asyncio.run(measure(server, site, quiet, 2 * seconds))
            for case in cases:
                asyncio.run(measure(server, site, case, seconds))
                print(f"{case.component} {case.what}: {'well' if case.well else 'NOT WELL'}", file=sys.stderr)
    return quiet, cases


def main() -> None:
    """Run it and print the figures."""
    parser = arguments(__doc__, seconds=6.0, repeats=1)
    parser.add_argument("--only", nargs="+", default=(), help="Misbehaviours; default: all.")
    options = parser.parse_args()
    train_once(options.home)
    quiet, cases = run(options.home, options.seconds, options.only)
    Console(width=130).print(table(quiet, cases))
    write_json(options.json, {"quiet": asdict(quiet), "cases": [asdict(case) for case in cases]})
    raise SystemExit(0 if all(case.well for case in cases) else 1)


if __name__ == "__main__":
    main()
