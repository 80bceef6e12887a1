"""recserve beside ``recotem``, LensKit and ``implicit``: the same catalogue, users and events, one table.

    python -m benchmarks.compared [--peer-python recotem=PATH lenskit=PATH implicit=PATH]
                                  [--seconds 3] [--repeats 2] [--connections 1 64] [--queries-per-user 20]
                                  [--markdown OUT] [--json OUT]

Each peer lives in an environment of its own (recotem needs Python 3.12 or later):

    python -m venv A && A/bin/pip install recotem
    python -m venv B && B/bin/pip install lenskit fastapi "uvicorn[standard]"
    python -m venv C && C/bin/pip install implicit fastapi "uvicorn[standard]"

recotem is trained and served by its own commands; LensKit and ``implicit``, which are libraries, by
:mod:`benchmarks.compared.app`. A peer without an environment is left out, which is said. One after the other,
all are trained on the events of the sample before one moment with the same number of threads, then served:

- Quality: the server is told later events as they came, and asked before each
  (:mod:`benchmarks.compared.protocol`).
- Effects: fifty users like the first item of their page; is the very next answer another one? Is somebody
  answered of whom nothing is known?
- Speed: *repeated*, users at random of whom nothing new is known; *fresh*, every request follows a new event
  of its user (:mod:`benchmarks.compared.load`). ``wrk`` drives the repeated ones where it is installed.
- Memory of all processes of the server, after the load.

recotem is asked in two ways: by user id, of what was learnt, and by the history that the client keeps.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from recserve_movielens.sources import BUNDLED
from rich.console import Console
from rich.table import Table

from benchmarks import datasets, serving_load, serving_wrk
from benchmarks.common import machine, write_json
from benchmarks.compared.asking import Client, Effects, effects, follow
from benchmarks.compared.load import MODULE, WiredLoad, WiredPlan
from benchmarks.compared.protocol import Protocol, mean
from benchmarks.compared.sides import Recotem, Recserve, Running, Side, Trained, peers
from benchmarks.compared.table import FRESH, REPEATED, Column, Loads, Quality, markdown, rows
from benchmarks.compared.wires import Wire
from benchmarks.serving_load import Summary
from recserve.evaluation import Report, paired_difference

PEERS = ("recotem", "lenskit", "implicit")
EFFECT_USERS = 50
CLICKED = 1000
WARM_UP_SECONDS = 1.0
METRICS = ("ndcg@10", "recall@20")


def main() -> None:
    """Measure and print."""
    options = parse()
    pythons = dict(options.peer_python)
    for name in PEERS:
        if name not in pythons:
            print(f"{name} is left out: no --peer-python {name}=PATH", file=sys.stderr)
    # Stopping the benchmark stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    data = datasets.read(BUNDLED)
    assert data is not None
    protocol = Protocol.of(data, options.queries_per_user)
    sides: list[Side] = [Recserve(options.threads)]
    sides += peers(pythons, options.threads, options.trials, options.draws)
    columns: list[Column] = []
    chosen: list[str] = []
    first: Report | None = None
    for side in sides:
        with tempfile.TemporaryDirectory(prefix="recserve-bench-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            protocol.write(folder)
            _say(f"{side.name}: training")
            trained = side.train(folder)
            chosen.append(f"{side.name} {trained.version}: {trained.chosen}")
            for wire in side.wires:
                column, report = _column(side, wire, folder, trained, protocol, first, options)
                first = first or report
                columns.append(column)
    console = Console(width=max(160, 40 * len(columns)))
    setting = (
        f"{machine()}; {len(protocol.past):,} events to learn from, {len(protocol.split):,} questions for "
        f"{protocol.split.n_users} users, {protocol.split.n_items:,} items ranked; "
        f"trained with {options.threads} thread(s)"
    )
    console.print(setting, highlight=False)
    show(columns, console)
    for line in chosen:
        console.print(line, markup=False, highlight=False)
    if options.markdown is not None:
        text = "\n\n".join((setting + ".", markdown(columns), "\n".join(f"- {line}" for line in chosen)))
        options.markdown.write_text(text + "\n", encoding="utf-8")
    found = {"machine": setting, "chosen": chosen, "columns": [column.as_json() for column in columns]}
    write_json(options.json, found)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer-python",
        type=peer_python,
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help=f"Interpreters of the peers ({', '.join(PEERS)}); others are left out.",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="Of one measurement of speed.")
    parser.add_argument("--repeats", type=int, default=2, help="Measurements of each.")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--queries-per-user", type=int, default=20, help="Questions of quality, at most.")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="Of each training.")
    parser.add_argument("--trials", type=int, default=40, help="Of recotem's search (60 s at most).")
    parser.add_argument("--draws", type=int, default=12, help="Settings tried of LensKit and implicit.")
    parser.add_argument("--markdown", type=Path, help="Write the table here.")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    return parser.parse_args(arguments)


def peer_python(text: str) -> tuple[str, Path]:
    """``NAME=PATH`` of a peer and its interpreter.

    Raises:
        argparse.ArgumentTypeError: Another name, or no such file.
    """
    name, _, path = text.partition("=")
    if name not in PEERS:
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=PATH with NAME one of {', '.join(PEERS)}")
    if not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{name}: there is no interpreter {path!r}")
    # Not resolved: an environment's interpreter is a link, and knows its packages by where the link is.
    return name, Path(path).absolute()


def show(columns: Sequence[Column], console: Console) -> None:
    """Print the table."""
    table = Table("", *(column.title for column in columns), show_lines=True)
    for line in rows(columns):
        table.add_row(*line)
    console.print(table)


def _column(
    side: Side,
    wire: Wire,
    folder: Path,
    trained: Trained,
    protocol: Protocol,
    first: Report | None,
    options: argparse.Namespace,
) -> tuple[Column, Report]:
    """All figures of one way of asking a system; its server is started twice, as it was trained."""
    title = wire.title(side.name)
    histories = protocol.histories()
    with side.serve(folder) as running:
        _say(f"{title}: quality")
        client = Client(running.port, wire)
        lists = follow(client, protocol)
        client.close()
    report = protocol.report(title, lists.lists)
    ndcg, recall = (mean(report, metric) for metric in METRICS)
    ahead = (
        None if first is None else paired_difference(first.per_user[METRICS[0]], report.per_user[METRICS[0]])
    )
    quality = Quality(ndcg, recall, ahead, len(lists.lists), lists.refused, lists.short)
    with side.serve(folder) as running:
        loads = _loads(title, wire, running, histories, side.keeps_answers, options)
        memory = running.memory_mb()
        _say(f"{title}: effects")
        found = _effects(running, wire, histories)
        renewal = side.renew(folder, running) if isinstance(side, Recotem) and not found.possible else None
    figures = (loads, memory, trained.seconds, trained.cpu, renewal)
    return Column(title, trained.version, quality, found, *figures), report


def _effects(running: Running, wire: Wire, histories: Mapping[str, Sequence[str]]) -> Effects:
    client = Client(running.port, wire)
    found = effects(client, dict(itertools.islice(histories.items(), EFFECT_USERS)))
    client.close()
    return found


def _loads(
    title: str,
    wire: Wire,
    running: Running,
    histories: Mapping[str, Sequence[str]],
    keeps_answers: bool,
    options: argparse.Namespace,
) -> Loads:
    """Speed of a server; the first round warms up."""
    items = sorted({item for history in histories.values() for item in history})[:CLICKED]
    kinds = [REPEATED] if wire.keeps_history and not wire.takes_events else [REPEATED, FRESH]
    found: dict[tuple[str, int], list[Summary]] = {}
    for repeat in range(options.repeats + 1):
        for connections in options.connections:
            for kind in kinds:
                _say(f"{title}: {kind}, {connections} connections, {repeat} of {options.repeats}")
                plan = WiredPlan(
                    running.port,
                    wire.path,
                    connections,
                    options.seconds if repeat else WARM_UP_SECONDS,
                    users=list(histories),
                    items=items,
                    fresh=kind == FRESH,
                    seed=repeat,
                    processes={"server": running.pids()},
                    wire=wire.name,
                    keeps_answers=keeps_answers,
                    histories={}
                    if wire.keeps_history
                    else {user: list(had) for user, had in histories.items()},
                )
                summary = _load(plan, kind)
                if repeat:
                    found.setdefault((kind, connections), []).append(summary)
    return found


def _load(plan: WiredPlan, kind: str) -> Summary:
    """One measurement of speed; the generator in Python waits for answers that take longer than the plan."""
    if kind == REPEATED and serving_wrk.available():
        summary = serving_wrk.run(plan, WiredLoad)
        if summary.rate * plan.seconds > plan.connections:
            return summary
    return serving_load.run(plan, MODULE).summary()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
