"""What a server does with twice the requests that it can answer.

    python -m benchmarks.overload [--home DIR] [--factor 2] [--seconds 4] [--repeats 9] [--json OUT]

The sample data is loaded and trained in ``--home`` once; the server runs in a copy of it. What it can answer
is found with several numbers of connections that each ask again as soon as they are answered. Then requests
come at ``--factor`` times the highest of these rates, at random moments, whether or not earlier ones were
answered. Both are repeated in turn, briefly and often, because the speed of a shared machine drifts: the peak
of a measurement is the mean of the rates just before and just after it, with the number of connections that
is best on the whole. What counts is *goodput*, answers 200 a second, as a share of the peak; how soon the
others are refused (503 or 429); and that nobody waits in vain. All requests of the peak and of the overload
are repeats: nothing new happens, which is when a server answers most and refusing costs the largest share.
``--fresh`` makes them dearer instead: the server then keeps no answers.

The load is on the same machine and takes twice as much of it at twice the rate: its CPU time is listed. The
generator in Python drives the peak, too, so that its share is in both; ``benchmarks.serving`` shows higher
rates where it uses wrk.

Exit status 1: something timed out, or was answered neither 200 nor 503 nor 429.
"""

from __future__ import annotations

import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.common import (
    arguments,
    machine,
    quantile,
    scratch_home,
    serving,
    train_once,
    write_json,
)
from benchmarks.serving import USERS, server_processes
from benchmarks.serving_load import LOAD, Outcome, Plan, run

CONNECTIONS = (64, 128, 256)
MOST_CONNECTIONS = 4000
REFUSED = (429, 503)


@dataclass
class Overload:
    """One measurement of an offered rate.

    Attributes:
        before: Answers a second of the best of the closed loops just before.
        offered: Requests a second.
        goodput: Answers 200 a second.
        refused: Share of requests that were refused.
        lost: Requests that were neither answered nor refused.
        degraded: Answers that lacked a stage.
        p50, p99: Latency of answers 200, milliseconds.
        refusal_p50, refusal_p99, refusal_max: Latency of refusals.
        late: Milliseconds that the load sent a request after it was due, at worst.
        most: Most requests under way at once.
        cpu: CPU seconds a second, by process.
    """

    before: float
    offered: float
    goodput: float
    refused: float
    lost: int
    degraded: int
    p50: float
    p99: float
    refusal_p50: float
    refusal_p99: float
    refusal_max: float
    late: float
    most: int
    cpu: dict[str, float]

    @classmethod
    def of(cls, before: float, plan: Plan, outcome: Outcome) -> Overload:
        """What an outcome means."""
        good = outcome.latencies()
        refused = [spent for status, spent in outcome.answers if status in REFUSED]
        total = len(outcome.answers)
        return cls(
            before=before,
            offered=total / plan.seconds,
            # Time goes on until the last answer: what was let in at the end counts, and its time too.
            goodput=len(good) / outcome.seconds,
            refused=len(refused) / max(total, 1),
            lost=total - len(good) - len(refused),
            degraded=outcome.degraded,
            p50=quantile(good, 0.5),
            p99=quantile(good, 0.99),
            refusal_p50=quantile(refused, 0.5),
            refusal_p99=quantile(refused, 0.99),
            refusal_max=max(refused, default=float("nan")),
            late=outcome.late,
            most=outcome.most,
            cpu={name: spent / outcome.seconds for name, spent in outcome.cpu.items()},
        )


def closed_loops(port: int, seconds: float, seed: int) -> dict[int, float]:
    """Answers a second that closed loops get, by connections."""
    rates = {}
    for connections in CONNECTIONS:
        outcome = run(Plan(port, "/v1/recommend", connections, seconds, users=USERS, seed=seed))
        rates[connections] = len(outcome.latencies()) / outcome.seconds
    return rates


def peaks_of(loops: Sequence[Mapping[int, float]]) -> list[float]:
    """The peak between each two closed loops: the mean of both, with the best number of connections.

    That number is chosen by the medians. The best of single rates would be a matter of luck on a machine
    whose speed varies.
    """
    best = max(CONNECTIONS, key=lambda connections: statistics.median(loop[connections] for loop in loops))
    return [(before[best] + after[best]) / 2 for before, after in pairwise(loops)]


def show(found: Sequence[Overload], peaks: Sequence[float], console: Console) -> None:
    """One row a repeat, and the medians."""
    table = Table(
        "peak/s", "offered/s", "goodput/s", "of peak", "refused", "p50 ms", "p99 ms",
        "refusal p50", "p99", "max", "lost", "load late ms", "load CPU",
    )  # fmt: skip
    shares = [outcome.goodput / peak for outcome, peak in zip(found, peaks, strict=True)]
    for one, peak, part in zip(found, peaks, shares, strict=True):
        table.add_row(
            f"{peak:.0f}",
            f"{one.offered:.0f}",
            f"{one.goodput:.0f}",
            f"{part:.2f}",
            f"{one.refused:.0%}",
            *(f"{value:.0f}" for value in (one.p50, one.p99)),
            *(f"{value:.1f}" for value in (one.refusal_p50, one.refusal_p99, one.refusal_max)),
            str(one.lost + one.degraded or ""),
            f"{one.late:.0f}",
            f"{one.cpu.get(LOAD, 0.0):.2f}",
        )
    console.print(table)
    share, refusal = statistics.median(shares), statistics.median(outcome.refusal_p99 for outcome in found)
    console.print(f"medians: goodput {share:.2f} of the peak; 99% of refusals within {refusal:.1f} ms")


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__, seconds=4.0, repeats=9)
    parser.add_argument("--factor", type=float, default=2.0)
    parser.add_argument("--fresh", action="store_true", help="The server keeps no answers.")
    options = parser.parse_args()
    console = Console(width=140)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops what was started, too
    train_once(options.home)
    changes: dict[str, Any] = {"server": {"repeats": 0}} if options.fresh else {}
    found: list[Overload] = []
    loops: list[dict[int, float]] = []
    with scratch_home(options.home, changes) as home, serving(home) as server:
        processes = server_processes(home)
        run(Plan(server.port, "/v1/recommend", 64, 3.0, users=USERS))  # warms up
        for repeat in range(options.repeats):
            loops.append(closed_loops(server.port, 2.0, repeat))
            before = max(loops[-1].values())
            plan = Plan(
                server.port,
                "/v1/recommend",
                MOST_CONNECTIONS,
                options.seconds,
                rate=options.factor * before,
                users=USERS,
                seed=repeat,
                processes=processes,
            )
            found.append(Overload.of(before, plan, run(plan)))
        loops.append(closed_loops(server.port, 2.0, options.repeats))
    console.print(machine())
    show(found, peaks_of(loops), console)
    runs = [asdict(outcome) for outcome in found]
    write_json(options.json, {"machine": machine(), "closed_loops": loops, "runs": runs})
    return int(any(outcome.lost for outcome in found))


if __name__ == "__main__":
    raise SystemExit(main())
