"""Experiments and off-policy estimates against the truth of a simulated audience.

    python -m benchmarks.clicks [--runs 200] [--seed 0] [--open-bandit DIR] [--json FILE]
    python -m benchmarks.clicks --live [--home DIR] [--seed 0] [--json FILE]

The audience (benchmarks/clicks_world.py) has changing tastes, very different habits and a position bias. Many
experiments are run on it, and each is looked at every day:

- A/A: two equal arms; how often a look raises an alarm, beside a plain 95% interval looked at as often.
- A/B: how often and on which day the better arm is found, with and without CUPED.
- Interleaving: how many impressions find the same better ranker.
- Sample ratio: how often the alarm is raised without and with a planted loss of users.
- Off-policy: how often intervals of IPS, SNIPS and DR hold the true rate of a policy that was not shown.

``--open-bandit`` names a folder of the Open Bandit Dataset (Saito et al. 2021): each of its two policies is
estimated from the log of the other and compared with what it earned. ``--live`` has the audience ask a
server of its own instead, with a split experiment and an interleaved one, and holds the reports against the
truth. Exit status 1: a demand is not met.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import clicks_experiments, clicks_live, clicks_off_policy
from benchmarks.clicks_world import Row
from benchmarks.common import DEFAULT_HOME, write_json


def measure(runs: int, seed: int, open_bandit: Path | None) -> list[Row]:
    """All rows of the table."""
    few = max(runs // 10, 2)
    rows = clicks_experiments.same_arms(runs, seed)
    compared, impressions = clicks_experiments.better_arm(few, seed)
    rows += compared
    rows += clicks_experiments.interleaved(few, seed, impressions)
    rows += clicks_experiments.sample_ratios(5 * runs, seed)
    rows += clicks_off_policy.simulated(max(runs // 2, 2), seed)
    if open_bandit is not None:
        rows += clicks_off_policy.open_bandit(open_bandit)
    return rows


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200, help="A/A experiments; of others in proportion.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--open-bandit", type=Path, help="Folder of the Open Bandit Dataset.")
    parser.add_argument("--live", action="store_true", help="Ask a live server.")
    parser.add_argument("--home", type=Path, default=DEFAULT_HOME, help="A trained home, made if missing.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    options = parser.parse_args()
    started = time.perf_counter()
    if options.live:
        rows = clicks_live.live(options.home, options.seed)
    else:
        rows = measure(options.runs, options.seed, options.open_bandit)
    table = Table("check", "figure", "demanded", "met")
    for row in rows:
        table.add_row(row.check, row.figure, row.demand, ("yes" if row.met else "NO") if row.demand else "")
    console = Console(width=150)
    console.print(table)
    console.print(f"seed {options.seed}, {time.perf_counter() - started:.0f} s", highlight=False)
    write_json(options.json, {"seed": options.seed, "rows": [row._asdict() for row in rows]})
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()
