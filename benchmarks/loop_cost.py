"""What experiments, shadow answers and reports cost requests: one server, with and without them in turn.

    python -m benchmarks.loop_cost [--home DIR] [--loads repeat ...] [--states a/b ...] [--repeats 8]
                                   [--seconds 2] [--connections 64] [--json OUT]

Each round asks the same loads of one server in each state, in an order that alternates: *a/a*, an
experiment over all users whose two arms are the same; *a/b*, one of them with another parameter, so that each
has batches of its own; *shadow*, a third arm beside these whose answers are computed for a tenth of the users
and shown to nobody; and *all*, where a report of the experiment is asked for every five seconds as well.
Before and after each of them is *off*: a machine's speed drifts by more than an arm costs. Ratios are medians
of the rounds' own ratios to the mean of both. *shadow* and *all* include what the shadow answers and the
reports themselves take of the same machine; ``ingress`` is the CPU time of the process that answers.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from benchmarks import serving_load, serving_wrk
from benchmarks.common import arguments, machine, scratch_home, serving, train_once, write_json
from benchmarks.serving import NOVEL, USERS, server_processes
from benchmarks.serving_load import Plan, Summary
from recserve.telemetry.instruments import ARM_ANSWERS

LOADS: Mapping[str, Mapping[str, Any]] = {
    "repeat": {},
    "mixed": {"novel": NOVEL},
    "fresh": {"fresh": True},
}
STATES = ("a/a", "a/b", "shadow", "all")
INGRESS = "Ingress"
FOLLOWED_SECONDS = 2.0
REPORT_SECONDS = 5.0


class Loop:
    """Experiments and reports of a running server.

    Args:
        url: The server.
        scenario: What its users are asked for.
    """

    def __init__(self, url: str, scenario: str) -> None:
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)
        self._scenario = scenario
        # A home that was measured before has experiments of these names.
        self._began = int(time.time())
        self._number = 0
        self.reports = 0

    @contextmanager
    def state(self, name: str) -> Iterator[None]:
        """Have the server in a state."""
        if name == "off":
            yield
            return
        self._number += 1
        experiment = f"cost-{self._began}-{self._number}"
        other = {} if name == "a/a" else {"parameters": {"budget": 390}}
        arms: list[dict[str, Any]] = [{"name": "control"}, {"name": "other", **other}]
        if name in ("shadow", "all"):
            arms.append({"name": "unseen", "parameters": {"budget": 380}, "shadow": True, "share": 0.1})
        body = {"name": experiment, "scenario": self._scenario, "arms": arms}
        self._post("/v1/experiments", body)
        self._post(f"/v1/experiments/{experiment}/start", {})
        over = threading.Event()
        reading = threading.Thread(target=self._read_reports, args=(experiment, over))
        time.sleep(FOLLOWED_SECONDS)
        if name == "all":
            reading.start()
        try:
            yield
        finally:
            over.set()
            if name == "all":
                reading.join()
            self._post(f"/v1/experiments/{experiment}/stop", {"reason": "measured"})
            time.sleep(FOLLOWED_SECONDS)

    def shadows(self) -> dict[str, float]:
        """Shadow answers so far, by what became of them."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self._client.get("/v1/metrics").text):
            for sample in family.samples:
                if sample.name == ARM_ANSWERS.name and (outcome := sample.labels["outcome"]) != "shown":
                    found[outcome] = found.get(outcome, 0.0) + sample.value
        return found

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _read_reports(self, experiment: str, over: threading.Event) -> None:
        while True:
            self._client.get(
                "/v1/reports/outcomes", params={"experiment": experiment, "by": "arm"}
            ).raise_for_status()
            self.reports += 1
            if over.wait(REPORT_SECONDS):
                break

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        answer = self._client.post(path, json=body)
        if not answer.is_success:
            raise SystemExit(f"{path}: {answer.text}")


class Beside(NamedTuple):
    """A load in a state, and the same with the state off in the same round."""

    on: Summary
    off: tuple[Summary, ...]

    @property
    def rate(self) -> float:
        """Requests a second with it over those without it."""
        return self.on.rate / statistics.mean(run.rate for run in self.off)

    @property
    def ingress(self) -> float:
        """CPU time an answer of the process that answers, with it over that without it."""
        return self.on.cpu[INGRESS] / statistics.mean(run.cpu[INGRESS] for run in self.off)


Found = dict[str, dict[str, list[Beside]]]
"""By load and state."""


def measure(options: argparse.Namespace) -> tuple[Found, int, dict[str, float]]:
    """Figures of each round by load and state, how many reports were read, and shadow answers."""
    found: Found = {load: {state: [] for state in options.states} for load in options.loads}
    with scratch_home(options.home, {}) as home, serving(home) as server:
        with closing(sqlite3.connect(home / "recserve.db")) as database:
            items = [row[0] for row in database.execute("SELECT item_id FROM items LIMIT 1000")]
        processes = server_processes(home)
        url = f"http://127.0.0.1:{server.port}"
        loop = Loop(url, httpx.get(f"{url}/v1/about", trust_env=False).json()["default_scenario"])

        def ask(load: str, seed: int) -> Summary:
            plan = Plan(
                server.port,
                "/v1/recommend",
                options.connections,
                options.seconds,
                users=USERS,
                items=items,
                seed=seed,
                processes=processes,
                **LOADS[load],
            )
            anew = plan.fresh or plan.novel > 0 or not serving_wrk.available()
            return serving_load.run(plan).summary() if anew else serving_wrk.run(plan)

        def ask_all(state: str, number: int) -> dict[str, Summary]:
            with loop.state(state):
                ask("repeat", 0)  # each arm has answers of its own to repeat
                return {load: ask(load, number) for load in found}

        with closing(loop):
            for load in found:
                ask(load, 0)  # everything has been called once
            for number in range(1, options.repeats + 1):
                before = ask_all("off", number)
                for state in options.states[:: 1 if number % 2 else -1]:
                    on, after = ask_all(state, number), ask_all("off", number)
                    for load in found:
                        found[load][state].append(Beside(on[load], (before[load], after[load])))
                    before = after
            shadows = loop.shadows()
    return found, loop.reports, shadows


def table(found: Found) -> Table:
    """A row for each load and state."""
    shown = Table(
        "load", "state", "answers/s", "of off", "quartiles", "ingress", "p50 ms", "p99 ms", "failed"
    )
    for load, states in found.items():
        for state, runs in states.items():
            shares = sorted(run.rate for run in runs)
            low, _, high = statistics.quantiles(shares, n=4) if len(shares) > 1 else shares * 3
            shown.add_row(
                load,
                state,
                f"{statistics.median(run.on.rate for run in runs):.0f}",
                f"{statistics.median(shares):.3f}",
                f"{low:.2f} - {high:.2f}",
                f"{statistics.median(run.ingress for run in runs):.3f}",
                f"{statistics.median(run.on.p50 for run in runs):.1f}",
                f"{statistics.median(run.on.p99 for run in runs):.1f}",
                str(sum(run.on.failed for run in runs)),
            )
    return shown


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, seconds=2.0, repeats=8)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    train_once(options.home)
    found, reports, shadows = measure(options)
    console = Console(width=120)
    console.print(
        f"{machine()}; {options.connections} connections, {options.repeats} rounds", highlight=False
    )
    console.print(table(found))
    console.print(f"{reports} reports were read; shadow answers: {shadows}", highlight=False)
    content = {
        load: {state: [run.rate for run in runs] for state, runs in states.items()}
        for load, states in found.items()
    }
    write_json(options.json, {"machine": machine(), "rates": content, "shadows": shadows})


if __name__ == "__main__":
    main()
