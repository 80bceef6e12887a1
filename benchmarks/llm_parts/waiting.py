"""Whole answers beside a model that hangs, that is slower than its deadline, and whose answers are known."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.common import CONFIG_NAME, SAMPLE, merged, quantile, recserve
from benchmarks.llm_parts.sample import CONFIG, Sample
from recserve.cli.common import State
from recserve.config import parse_config
from recserve.serving.local import local_pipeline
from recserve.serving.requests.request import Recommendation, Request

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
        users = _users(state, len(sample.split))
        slow = {**connection, "answer": "logprobs", "deadline_ms": DEADLINE_MS, "cache_seconds": 3_600}
        hangs = {**slow, "base_url": address, "timeout_ms": 30_000, "concurrency": 8, "max_queue": 64}
        for name, params in (("none", None), ("hangs", hangs), ("at the deadline", slow), ("known", slow)):
            if name == "known":
                _until_known(state, users, slow)
            ms, degraded = _ask(state, users, params)
            rows.append(
                {
                    "model": name,
                    "answers": len(ms),
                    "ms_median": quantile(ms, 0.5),
                    "ms_p99": quantile(ms, 0.99),
                    "degraded": dict(degraded),
                }
            )
            said = ", ".join(f"{cause} {count}" for cause, count in degraded.items()) or "none"
            table.add_row(name, str(len(ms)), f"{quantile(ms, 0.5):.1f}", f"{quantile(ms, 0.99):.1f}", said)
        state.store.close()
    console.print(table)
    return rows


def _ask(
    state: State, users: list[str], params: Mapping[str, Any] | None
) -> tuple[list[float], Counter[str]]:
    """Milliseconds of each answer, and what it went without and why."""
    rerankers = [] if params is None else [{"use": "llm_rerank", "params": dict(params)}]
    home = {**CONFIG["scenarios"]["home"], "rerankers": rerankers}
    config = parse_config(merged(CONFIG, {"scenarios": {"home": home}}), "benchmark")
    pipeline = local_pipeline(state.registry.resolve(config), state.current_bundle(), state.store)
    ms: list[float] = []
    degraded: Counter[str] = Counter()

    async def ask() -> None:
        await pipeline.recommend([Request(user_id=users[0], n=10)])
        for user in users:
            began = time.perf_counter()
            (answer,) = await pipeline.recommend([Request(user_id=user, n=10)])
            ms.append((time.perf_counter() - began) * 1000)
            assert isinstance(answer, Recommendation)
            degraded.update(
                f"{part} {cause}" for part, cause in zip(answer.degraded, answer.causes, strict=True)
            )

    asyncio.run(ask())
    return ms, degraded


def _until_known(state: State, users: list[str], params: Mapping[str, Any]) -> None:
    """Wait until the model has answered in the background what it was late for."""
    end = time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < end:
        _, degraded = _ask(state, users, params)
        if not degraded:
            return
        time.sleep(5.0)


def _users(state: State, count: int) -> list[str]:
    """Users with a history, as the sample numbers them."""
    events = state.store.snapshot().events
    return sorted(set(events["user_id"].to_pylist()), key=int)[:count]


@contextmanager
def _hanging() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
