"""Whole answers with the cross-encoder at the end: their times, and what happens at a deadline.

    python -m benchmarks.cross_encoder_served [--home DIR] [--users N] [--depth K] [--json FILE]

The sample data is trained once in --home with the suggested configuration for films and the reranker
`cross_encoder`, whose weight is given: time does not depend on what it has learnt. Each user is then asked
for once, one after the other, in one process without HTTP: without the reranker, with a deadline that it
keeps, and with two that it does not, where all users are asked for a second time, once what was late has
been computed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from recserve_movielens.sources import SUGGESTED

from benchmarks.common import CONFIG_NAME, SAMPLE, machine, recserve, write_json
from benchmarks.whole_answers import WholeAnswers, known_users, whole_answers
from recserve.cli.common import State
from recserve.config import Config, parse_config

DEADLINES_MS = (10_000, 300, 100)
"""The first is for whatever the reranker takes."""
_PAUSE_SECONDS = 5.0
_QUICK = {"weight": 0.3, "examples": 40, "epochs": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train where nothing is yet, ask, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, default=Path(".recserve/cross_encoder_served"))
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--depth", type=int, default=20, help="candidates that are read (default: 20)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    reranker = {"use": "cross_encoder", "params": {**_QUICK, "depth": options.depth}}
    if not (options.home / "bundles").is_dir():
        options.home.mkdir(parents=True, exist_ok=True)
        (options.home / CONFIG_NAME).write_text(yaml.safe_dump(_plain(reranker)), encoding="utf-8")
        recserve(options.home, "import", "--dataset", SAMPLE)
        recserve(options.home, "train", "--no-evaluate")
    state = State(options.home)
    with state.store:
        users = known_users(state, options.users)
        measured = _measure(state, users, reranker)
    print(machine())
    print(table(measured))
    if options.json is not None:
        rows = [
            {"served": name, "median": one.median, "p99": one.p99, "degraded": dict(one.degraded)}
            for name, one in measured
        ]
        write_json(options.json, {"machine": machine(), "users": len(users), "answers": rows})
    return 0


def _measure(state: State, users: list[str], reranker: dict[str, Any]) -> list[tuple[str, WholeAnswers]]:
    """Answers by what they are served with."""
    found = [("without the reranker", whole_answers(state, _config(None), users)[0])]
    for deadline in DEADLINES_MS:
        rounds = 1 if deadline == max(DEADLINES_MS) else 2
        answers = whole_answers(
            state, _config(reranker, deadline), users, rounds=rounds, pause_seconds=_PAUSE_SECONDS
        )
        names = (f"deadline {deadline:,} ms", f"deadline {deadline:,} ms, asked again")
        found += zip(names, answers, strict=False)
    return found


def _plain(reranker: dict[str, Any] | None) -> dict[str, Any]:
    """The suggested scenario `home`, and the reranker."""
    home = {**SUGGESTED["scenarios"]["home"], "rerankers": [] if reranker is None else [reranker]}
    return {"item_text": SUGGESTED["item_text"], "scenarios": {"home": home}}


def _config(reranker: dict[str, Any] | None, deadline: int = max(DEADLINES_MS)) -> Config:
    return parse_config({**_plain(reranker), "server": {"reranking_deadline_ms": deadline}}, "benchmark")


def table(measured: Sequence[tuple[str, WholeAnswers]]) -> str:
    """A row for each way of serving."""
    lines = ["| served | answers | ms median | p99 | degraded |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {len(one.ms)} | {one.median:.1f} | {one.p99:.1f} | {one.went_without} |"
        for name, one in measured
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
