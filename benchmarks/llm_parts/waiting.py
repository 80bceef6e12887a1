"""Whole answers beside a model that hangs, that is slower than its deadline, and whose answers are known."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.common import CONFIG_NAME, SAMPLE, merged, recserve
from benchmarks.llm_parts.sample import CONFIG, Sample
from benchmarks.whole_answers import WholeAnswers, known_users, whole_answers
from recserve.cli.common import State
from recserve.config import parse_config

DEADLINE_MS = 800
_LONGEST_SECONDS = 600.0


def measure_waiting(sample: Sample, connection: Mapping[str, Any], console: Console) -> list[dict[str, Any]]:
    """Ask for a page of each user, one after the other, in one process without HTTP."""
    table = Table("model", "answers", "ms median", "p99", "degraded")
    rows = []
    with tempfile.TemporaryDirectory(prefix="recserve-bench-") as folder, _hanging() as address:
        home = Path(folder)
        (home / CONFIG_NAME).write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
        recserve(home, "import", "--dataset", SAMPLE)
        recserve(home, "train", "--no-evaluate")
        state = State(home)
        users = known_users(state, len(sample.split))
        slow = {**connection, "answer": "logprobs", "deadline_ms": DEADLINE_MS, "cache_seconds": 3_600}
        hangs = {**slow, "base_url": address, "timeout_ms": 30_000, "concurrency": 8, "max_queue": 64}
        for name, params in (("none", None), ("hangs", hangs), ("at the deadline", slow), ("known", slow)):
            if name == "known":
                _until_known(state, users, slow)
            found = _ask(state, users, params)
            rows.append(
                {
                    "model": name,
                    "answers": len(found.ms),
                    "ms_median": found.median,
                    "ms_p99": found.p99,
                    "degraded": dict(found.degraded),
                }
            )
            table.add_row(
                name, str(len(found.ms)), f"{found.median:.1f}", f"{found.p99:.1f}", found.went_without
            )
        state.store.close()
    console.print(table)
    return rows


def _ask(state: State, users: list[str], params: Mapping[str, Any] | None) -> WholeAnswers:
    rerankers = [] if params is None else [{"use": "llm_rerank", "params": dict(params)}]
    home = {**CONFIG["scenarios"]["home"], "rerankers": rerankers}
    config = parse_config(merged(CONFIG, {"scenarios": {"home": home}}), "benchmark")
    (answers,) = whole_answers(state, config, users)
    return answers


def _until_known(state: State, users: list[str], params: Mapping[str, Any]) -> None:
    """Wait until the model has answered in the background what it was late for."""
    end = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < end:
        if not _ask(state, users, params).degraded:
            return
        time.sleep(5.0)


@contextmanager
def _hanging() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
