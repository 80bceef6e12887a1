"""Requests a second of this checkout beside another one's: both servers are up, and measured in turn.

    python -m benchmarks.beside OTHER [--python OTHER/.venv/bin/python] [--rounds 10] [--seconds 2]
                                [--connections 64] [--home DIR] [--other-home DIR] [--json OUT]

A machine drifts by more between two starts of a server than most changes cost, so figures of two runs say
little. Here each round asks both for the same load, one right after the other, in an order that alternates,
and the ratio is the median of the rounds' own ratios. The loads are those of :mod:`benchmarks.serving`.
OTHER is a checkout of an earlier commit with its own environment; each server uses a home that was trained by
its own code.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.common import DEFAULT_HOME, machine, train_once, write_json
from benchmarks.serving_load import ROOT

LOADS = ("no-op", "repeat", "repeat, explained", "mixed", "fresh", "fresh, explained")
SIDE = Path(__file__).with_name("beside_side.py")

Figures = dict[str, float]


class Side:
    """Server of one checkout, in a process that loads it when asked to.

    Args:
        process: Runs :mod:`benchmarks.beside_side`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        while (line := self._line()) != "ready":
            print(line, file=sys.stderr)

    def ask(self, load: str, seed: int, seconds: float, connections: int) -> Figures:
        """Requests a second, the ingress's CPU milliseconds a request, and requests that failed."""
        order = {"load": load, "seed": seed, "seconds": seconds, "connections": connections}
        assert self._process.stdin is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        found: Figures = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a server ended with status {self._process.wait()}")
        return line.strip()


@contextmanager
def side(checkout: Path, python: Path, home: Path) -> Iterator[Side]:
    """Start the server of a checkout; it is stopped afterwards."""
    checkout = checkout.resolve()
    folders = [checkout, checkout / "deployments", checkout / "plugins", *checkout.glob("plugins/*/src")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "PATH": f"{python.parent.absolute()}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        # -P: the folder of the file holds modules of this checkout.
        [str(python.absolute()), "-P", str(SIDE), str(home.resolve())],
        cwd=checkout,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Side(process)
    finally:
        process.communicate()  # its input ends, so it stops its server


def measure(
    sides: Sequence[Side], loads: Sequence[str], rounds: int, seconds: float, connections: int
) -> dict[str, list[list[Figures]]]:
    """Figures of each round by load: a list of the sides' own, in their order."""
    for load in loads:
        for asked in sides:
            asked.ask(load, 0, seconds, connections)  # everything has been called once
    found: dict[str, list[list[Figures]]] = {load: [] for load in loads}
    for number in range(1, rounds + 1):
        for load in loads:
            order = list(range(len(sides)))[:: 1 if number % 2 else -1]
            figures = {place: sides[place].ask(load, number, seconds, connections) for place in order}
            found[load].append([figures[place] for place in range(len(sides))])
    return found


def table(found: dict[str, list[list[Figures]]]) -> Table:
    """A row for each load; sides are this checkout and the other one."""
    shown = Table(title=f"This checkout beside another; {machine()}")
    for name in ("load", "other /s", "this /s", "this / other", "quartiles", "ingress CPU ms", "failed"):
        shown.add_column(name, justify="left" if name == "load" else "right")
    for load, rounds in found.items():
        ratios = sorted(this["rate"] / other["rate"] for this, other in rounds)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
        shown.add_row(
            load,
            f"{_median(rounds, 1, 'rate'):.0f}",
            f"{_median(rounds, 0, 'rate'):.0f}",
            f"{statistics.median(ratios):.3f}",
            f"{low:.2f} - {high:.2f}",
            f"{_median(rounds, 1, 'cpu'):.3f} -> {_median(rounds, 0, 'cpu'):.3f}",
            f"{sum(figures['failed'] for both in rounds for figures in both):.0f}",
        )
    return shown


def _median(rounds: Sequence[Sequence[Figures]], place: int, name: str) -> float:
    return statistics.median(both[place][name] for both in rounds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="Another checkout.")
    parser.add_argument("--python", type=Path, help="Its Python; default: of its .venv.")
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="Trained home, made if missing.")
    parser.add_argument("--other-home", type=Path, help="Its trained home; default: .recserve/bench there.")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="Of one measurement.")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    options = parser.parse_args()
    train_once(options.home)
    python = options.python or options.other / ".venv" / "bin" / "python"
    other_home = options.other_home or options.other / DEFAULT_HOME
    with ExitStack() as stack:
        # One after the other: two starts at once take each other's time.
        this = stack.enter_context(side(ROOT, Path(sys.executable), options.home))
        other = stack.enter_context(side(options.other, python, other_home))
        found = measure((this, other), options.loads, options.rounds, options.seconds, options.connections)
    Console(width=120).print(table(found))
    write_json(options.json, found)


if __name__ == "__main__":
    main()
