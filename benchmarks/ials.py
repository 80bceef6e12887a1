"""Matrix factorisation beside ``implicit`` and ``irspack``: the same minimum, as good, in how much time?

    python -m benchmarks.ials --peer-python PEER/bin/python [--data FOLDER] [--dimensions 64 128 256]
                              [--threads 1 2] [--iterations 32] [--starts 3] [--timed 8] [--repeats 5]

The peers live in an environment of their own:

    python -m venv PEER && PEER/bin/pip install implicit irspack threadpoolctl

All minimise one objective from one start with as many conjugate gradient steps, on all events of the data
with the newest of each user held out. Their factors are then judged by one piece of code: value of the
objective, and nDCG of the held-out item among all items, with the paired interval of the difference; means
over several random starts, because each leads to a minimum of its own. Times are taken in turn, each run of
a peer in a process of its own; reading data and starting up do not count.

Exit status 1: the nDCG of recserve is lower than a peer's, and the interval excludes zero.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recserve_mf.solver.ials import Objective, Problem
from recserve_movielens.sources import MovieLensSmall
from rich.console import Console
from rich.table import Table

from benchmarks import datasets
from benchmarks.common import SAMPLE, machine, write_json
from benchmarks.datasets import Data
from benchmarks.factorisation import CUTOFFS, OURS, PEERS, Done, Job, Pairs, objective_value, ours, theirs
from recserve.evaluation import Interval, paired_difference

# Of what frequency scaling would multiply lambda with in the mean.
_SHRINKAGE = 0.01


@dataclass(frozen=True)
class Quality:
    """How good a library's factors are.

    Attributes:
        dimension: Length of a factor.
        library: Whose.
        objectives: The objective by number of iterations.
        ndcg: Means by metric.
        difference: Ours minus theirs by metric, over the same users; empty for ours.
    """

    dimension: int
    library: str
    objectives: dict[int, float]
    ndcg: dict[str, float]
    difference: dict[str, Interval]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of each iteration of each run, the first iteration of a run left out.

    Attributes:
        dimension: Length of a factor.
        threads: Threads.
        library: Whose.
        clock: By the clock.
        cpu: On all CPUs together.
    """

    dimension: int
    threads: int
    library: str
    clock: list[float]
    cpu: list[float]


class Comparison:
    """All measurements on one data set.

    Args:
        pairs: The data.
        objective: What all minimise.
        peers: Libraries beside ours.
        python: The interpreter that has them.
        steps: Conjugate gradient steps.
    """

    def __init__(
        self, pairs: Pairs, objective: Objective, peers: Sequence[str], python: Path, steps: int
    ) -> None:
        self.pairs = pairs
        self.objective = objective
        self._libraries = (OURS, *peers)
        self._python = python
        self._steps = steps

    def quality(self, dimension: int, iterations: int, starts: int) -> list[Quality]:
        """Objective and nDCG of every library, ours first; means over several random starts."""
        found = [self._quality(library, dimension, iterations, starts) for library in self._libraries]
        best = found[0][1]
        return [
            replace(
                quality,
                difference={}
                if quality.library == OURS
                else {name: paired_difference(best[name], values[name]) for name in values},
            )
            for quality, values in found
        ]

    def _quality(
        self, library: str, dimension: int, iterations: int, starts: int
    ) -> tuple[Quality, dict[str, NDArray[np.float64]]]:
        """A library's figures, and nDCG of each user."""
        keep = sorted({1, 2, max(iterations // 2, 1), iterations})
        values = dict.fromkeys(keep, 0.0)
        ndcg = {f"ndcg@{k}": np.zeros(self.pairs.n_asked) for k in CUTOFFS}
        for seed in range(starts):
            done = self._run(library, dimension, os.cpu_count() or 1, iterations, seed, keep)
            for iteration, factors in done.factors.items():
                one = objective_value(self.pairs.problem, self.objective, *factors)
                values[iteration] += one / starts
            for name, each in self.pairs.ndcg(*done.factors[iterations]).items():
                ndcg[name] += each / starts
        means = {name: float(each.mean()) for name, each in ndcg.items()}
        return Quality(dimension, library, values, means, {}), ndcg

    def timings(self, dimension: int, threads: int, iterations: int, repeats: int) -> list[Timing]:
        """Every library in turn, several times over, who goes first changing."""
        found = {one: Timing(dimension, threads, one, [], []) for one in self._libraries}
        for repeat in range(repeats):
            turn = repeat % len(self._libraries)
            for library in self._libraries[turn:] + self._libraries[:turn]:
                done = self._run(library, dimension, threads, iterations)
                found[library].clock.extend(1000 * one for one in done.seconds[1:])
                found[library].cpu.extend(1000 * one for one in done.cpu[1:])
        return list(found.values())

    def _run(
        self,
        library: str,
        dimension: int,
        threads: int,
        iterations: int,
        seed: int = 0,
        keep: Sequence[int] = (),
    ) -> Done:
        print(f"{library}: {dimension} dimensions, {threads} threads", file=sys.stderr)
        job = Job.of(library, self.objective, dimension, threads, iterations, self._steps, seed, keep)
        if library == OURS:
            return ours(job, self.pairs.problem, self.objective)
        return theirs(job, self.pairs.problem, self._python)


def show_quality(found: Sequence[Quality], console: Console) -> None:
    """Objectives beside each other, nDCG with the interval of ours minus theirs."""
    iterations = sorted({one for quality in found for one in quality.objectives})
    table = Table("d", "library", *(f"objective after {one}" for one in iterations))
    for k in CUTOFFS:
        table.add_column(f"nDCG@{k}")
        table.add_column(f"{OURS} minus it (95%)")
    for quality in found:
        cells = [f"{quality.objectives[one]:,.1f}" for one in iterations]
        for name, mean in quality.ndcg.items():
            one = quality.difference.get(name)
            cells.append(f"{mean:.4f}")
            cells.append(f"{one.mean:+.4f} ({one.low:+.4f} to {one.high:+.4f})" if one else "")
        table.add_row(str(quality.dimension), quality.library, *cells)
    console.print(table)


def show_timings(found: Sequence[Timing], console: Console) -> None:
    """Medians and ranges of one iteration, and how many of ours fit into one of theirs."""
    libraries = list(dict.fromkeys(outcome.library for outcome in found))
    table = Table("d", "threads", *(f"{one} ms (range)" for one in libraries))
    for library in libraries[1:]:
        table.add_column(f"{library} / {OURS}")
        table.add_column("CPU time")
    for dimension, threads in dict.fromkeys((outcome.dimension, outcome.threads) for outcome in found):
        group = [outcome for outcome in found if (outcome.dimension, outcome.threads) == (dimension, threads)]
        clocks = [statistics.median(one.clock) for one in group]
        busy = [statistics.median(one.cpu) for one in group]
        cells = [
            f"{clock:.1f} ({min(one.clock):.1f}-{max(one.clock):.1f})"
            for clock, one in zip(clocks, group, strict=True)
        ]
        for clock, cpu in zip(clocks[1:], busy[1:], strict=True):
            cells += [f"{clock / clocks[0]:.2f}", f"{cpu / busy[0]:.2f}"]
        table.add_row(str(dimension), str(threads), *cells)
    console.print(table)


def objective_for(problem: Problem, ratio: float, regularization: float | None) -> Objective:
    """Without frequency scaling, which ``implicit`` does not have; lambda is made about as strong."""
    weight = ratio * problem.density
    if regularization is None:
        frequencies = [
            len(side.columns) / len(side) + weight * side.n_columns
            for side in (problem.by_user, problem.by_item)
        ]
        regularization = _SHRINKAGE * float(np.prod(frequencies)) ** 0.5
    return Objective(weight, regularization, nu=0.0)


def _load(folder: Path | None) -> Data:
    if folder is None:
        return Data(SAMPLE, MovieLensSmall().read().events, timed=True)
    data = datasets.read(folder)
    if data is None:
        raise SystemExit(f"{folder} holds no data set that benchmarks/datasets.py knows")
    return data


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", type=Path, required=True, help="Interpreter that has the peers.")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--data", type=Path, help="Folder of a data set; default: the sample data.")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--iterations", type=int, default=32, help="Until quality is judged.")
    parser.add_argument("--starts", type=int, default=3, help="Random starts to average over; 0: only time.")
    parser.add_argument("--timed", type=int, default=8, help="Iterations of a timed run.")
    parser.add_argument("--repeats", type=int, default=5, help="Timed runs of each library; 0: none.")
    parser.add_argument("--steps", type=int, default=3, help="Conjugate gradient steps of all.")
    parser.add_argument("--unobserved-ratio", type=float, default=8.0, help="As the retriever mf has it.")
    parser.add_argument(
        "--regularization", type=float, help="Lambda, the same for all rows; default: by data."
    )
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = _options()
    pairs = Pairs.of(_load(options.data))
    objective = objective_for(pairs.problem, options.unobserved_ratio, options.regularization)
    one = Comparison(pairs, objective, options.peers, options.peer_python, options.steps)
    console = Console(width=200)
    n_users, n_items = len(pairs.problem.by_user), len(pairs.problem.by_item)
    console.print(
        f"{machine()}; {pairs.name}: {n_users:,} users, {n_items:,} items, "
        f"{len(pairs.problem.by_user.columns):,} pairs, {pairs.n_asked:,} held out; "
        f"unobserved weight {objective.unobserved_weight:.4f}, lambda {objective.regularization:.2f}, "
        f"{options.steps} steps",
        highlight=False,
    )
    quality: list[Quality] = []
    if options.starts:
        for dimension in options.dimensions:
            quality += one.quality(dimension, options.iterations, options.starts)
        show_quality(quality, console)
    timings: list[Timing] = []
    if options.repeats:
        before = os.getloadavg()[0]
        for threads in options.threads:
            for dimension in options.dimensions:
                timings += one.timings(dimension, threads, options.timed, options.repeats)
        show_timings(timings, console)
        console.print(f"load average before and after timing: {before:.1f}, {os.getloadavg()[0]:.1f}")
    write_json(
        options.json,
        {
            "machine": machine(),
            "data": pairs.name,
            "objective": asdict(objective),
            "quality": [asdict(one) for one in quality],
            "timings": [asdict(one) for one in timings],
        },
    )
    worse = [one for one in quality if any(diff.high < 0 for diff in one.difference.values())]
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
