"""Closed loops driven by ``wrk``, which takes less of the machine than :mod:`benchmarks.serving_load`.

The requests are the same bytes, written ahead of time. A script inside of wrk draws one at random each time
and counts degraded answers, which takes it 0.7 microseconds an answer. CPU time, wrk's own included, is
measured from its start to its end, a few milliseconds more than it sends.

wrk adds to its latencies what further requests would have waited, had they been sent while one waited long.
Ours are of requests that were sent, as those of the Python generator are: what was added is taken out again.
But they are of all answers, refusals included.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import children_cpu
from benchmarks.serving_load import LOAD, WAIT_SECONDS, Load, Plan, Summary, cpu_seconds, in_a_loop

SCRIPT = Path(__file__).with_suffix(".lua")


def available() -> bool:
    """Whether ``wrk`` is on the PATH."""
    return shutil.which("wrk") is not None


def run(plan: Plan, make: Callable[[Any], Load] = Load) -> Summary:
    """Carry out a plan that is a closed loop; wrk counts whole seconds, so at least one.

    Args:
        plan: The plan.
        make: Makes its load, which writes the requests.

    Raises:
        SystemExit: wrk failed, or does not count as it is known to.
    """
    if plan.fresh or plan.rate or plan.novel:
        raise SystemExit("wrk drives closed loops without events and with requests of before only")
    load = make(plan)
    in_a_loop(load.ask_everybody())
    with tempfile.NamedTemporaryFile(prefix="recserve-wrk-") as requests:
        requests.write(b"".join(raw + b"\0" for raw in load.requests.values()))
        requests.flush()
        command = ["wrk", "-t1", f"-c{plan.connections}", f"-d{max(round(plan.seconds), 1)}s"]
        command += [f"--timeout={WAIT_SECONDS:.0f}s", f"--script={SCRIPT}"]
        command += [f"http://127.0.0.1:{plan.port}{plan.path}", "--", str(plan.seed), requests.name]
        before, own = cpu_seconds(plan.processes), children_cpu()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        cpu = {name: spent - before[name] for name, spent in cpu_seconds(plan.processes).items()}
        cpu[LOAD] = children_cpu() - own
    try:
        # Lua's error ends without a status.
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise SystemExit(f"wrk failed:\n{done.stdout}{done.stderr}") from None
    return summary_of(found, plan.connections, cpu)


def summary_of(found: Mapping[str, Any], connections: int, cpu: Mapping[str, float]) -> Summary:
    """What the line means that the script prints.

    Args:
        found: The line.
        connections: Of the plan.
        cpu: CPU seconds by process name.
    """
    answered, seconds = found["answered"], found["microseconds"] / 1e6
    # wrk says nothing of a connection that the server closes instead of answering. Requests that are under
    # way at the end, at most one a connection, are not lost.
    lost = max(found["sent"] - answered - connections, found["read"] + found["write"], 0)
    failed = found["status"] + found["timeout"] + found["connect"] + lost
    spent = _as_recorded(found, connections)
    p50, p95, p99, longest = (_quantile(spent, q) / 1000 for q in (0.5, 0.95, 0.99, 1.0))
    return Summary(
        rate=(answered - found["status"] - found["timeout"]) / seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        longest=longest,
        failed=failed,
        degraded=found["degraded"],
        cpu={name: 1000 * used / max(answered, 1) for name, used in cpu.items()},
    )


def _as_recorded(found: Mapping[str, Any], connections: int) -> list[tuple[int, int]]:
    """(microseconds, answers) without what wrk adds.

    For each answer that took x, twice the mean m or longer, wrk adds answers that took x - m, x - 2m and so
    on, as long as that is above m. So its count for a y above m is what it recorded plus its count for y + m.
    """
    spent: dict[int, int] = dict(found["spent"])
    recorded = found["answered"] - found["timeout"]
    if sum(spent.values()) != recorded and found["answered"] >= connections:
        mean = found["microseconds"] // (found["answered"] // connections)
        spent = {
            microseconds: count - (spent.get(microseconds + mean, 0) if microseconds > mean else 0)
            for microseconds, count in spent.items()
        }
    if sum(spent.values()) != recorded or min(spent.values(), default=0) < 0:
        raise SystemExit("this wrk counts in another way than wrk 4.1; use --generator python")
    return sorted(spent.items())


def _quantile(spent: Sequence[tuple[int, int]], q: float) -> float:
    """As :func:`benchmarks.common.quantile`, of counted values in order."""
    wanted = q * sum(count for _, count in spent)
    for value, count in spent:
        wanted -= count
        if wanted <= 0 and count:
            return value
    return float("nan")
