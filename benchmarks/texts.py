"""What texts in requests and in events cost: one staged server, with and without them in turn.

    python -m benchmarks.texts [--home DIR] [--repeats 6] [--seconds 3] [--connections 64] [--json OUT]

Two loads, each with and without texts, one right after the other, in an order that alternates:

- *repeat*: users who were answered before; with *queries* one request in ten has a free text that nobody has
  written before, so that it is encoded, searched for and ranked anew. *novel* is one request in ten that is
  new without a text: what of the cost is the text's own;
- *fresh*: each request follows a new event of its user, in batches of all users; with *searches* one event in
  ten is a search by a text instead of a click, which is encoded beside the request's path and read by what is
  recommended next.

Ratios are medians of the rounds' own ratios to *off*.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from rich.console import Console

from benchmarks import serving_load
from benchmarks.common import arguments, machine, scratch_home, serving, train_once, write_json
from benchmarks.encoding import item_texts
from benchmarks.loop_cost import Beside, table
from benchmarks.serving import USERS, server_processes
from benchmarks.serving_load import Plan, Summary

SHARE = 0.1
LOADS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "repeat": {"off": {}, "novel": {"novel": SHARE}, "queries": {"queries": SHARE}},
    "fresh": {"off": {"fresh": True}, "searches": {"fresh": True, "searches": SHARE}},
}


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[Summary]]]:
    """Figures of each round by load and state."""
    found: dict[str, dict[str, list[Summary]]] = {
        load: {state: [] for state in states} for load, states in LOADS.items()
    }
    texts = item_texts(2000)
    with scratch_home(options.home, {"server": {"topology": "staged"}}) as home, serving(home) as server:
        with closing(sqlite3.connect(home / "recserve.db")) as database:
            items = [row[0] for row in database.execute("SELECT item_id FROM items LIMIT 1000")]
        processes = server_processes(home)
        for number in range(options.repeats + 1):
            for load, states in LOADS.items():
                for state in list(states)[:: 1 if number % 2 else -1]:
                    plan = Plan(
                        server.port,
                        "/v1/recommend",
                        options.connections,
                        options.seconds,
                        users=USERS,
                        items=items,
                        texts=texts,
                        seed=number,
                        processes=processes,
                        **states[state],
                    )
                    summary = serving_load.run(plan).summary()
                    if number:  # the first round only warms everything up
                        found[load][state].append(summary)
    return found


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, seconds=3.0, repeats=6)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    train_once(options.home)
    found = measure(options)
    console = Console(width=120)
    console.print(
        f"{machine()}; {options.connections} connections, {options.repeats} rounds", highlight=False
    )
    console.print(
        table(
            {
                load: {
                    state: [Beside(run, (off,)) for off, run in zip(states["off"], runs, strict=True)]
                    for state, runs in states.items()
                }
                for load, states in found.items()
            }
        )
    )
    for load, states in found.items():
        for state, runs in states.items():
            degraded = sum(run.degraded for run in runs)
            console.print(f"{load}, {state}: {degraded} degraded answers", highlight=False)
    rates = {
        load: {state: [run.rate for run in runs] for state, runs in states.items()}
        for load, states in found.items()
    }
    write_json(options.json, {"machine": machine(), "rates": rates})


if __name__ == "__main__":
    main()
