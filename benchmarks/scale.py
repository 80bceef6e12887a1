"""What a large catalogue costs: retrieval by factors over 10,000, 100,000 and 1,000,000 items.

    python -m benchmarks.scale [--items 10000 100000 1000000] [--dimension 64] [--quick] [--json FILE]

People and what they like are made up: topics, a few of them a person, and within each topic popularity by a
power law. The retriever `mf` learns from that as it always does and goes into a bundle of the usual form.
Processes then load the bundle like the retrieval replicas of a server (without Ray) and answer:

- how long a batch of 1 and of 16 people takes, one thread, and the same with every item scored;
- the share of what scoring every item finds that the index finds, with seen items left out;
- what a replica holds in memory beside the bundle's mapped files, and what several replicas hold together.

Then a server of each catalogue, with rules that read three attributes, answers people and is told of
another price.

Sizes take turns, and medians over the turns are shown with their range.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever
from recserve_popular.parameters import PopularParams
from recserve_popular.retriever import PopularityRetriever
from rich.console import Console
from rich.table import Table

import recserve
from benchmarks.common import machine, write_json
from benchmarks.scale_replica import CONFIG, QUERIES
from benchmarks.scale_served import DEPLOYMENTS, Served, attributes, serve
from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import ComponentEntry, DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.config import parse_config
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.data.vocabulary import Vocabulary
from recserve.plugin.protocols import FitContext

ITEMS = (10_000, 100_000, 1_000_000)
EVENTS_A_USER = 40
TOPICS_A_USER = 6
STRAY = 0.15
REPLICAS = 3
SPREAD_MS = 60_000


@dataclass(frozen=True)
class Trained:
    """A bundle and what it took to make it.

    Attributes:
        items: Items of the catalogue.
        events: Pairs of a person and an item to learn from.
        people: Who they are.
        seconds: Of training, with the index.
        index: What the fit says of its index; None where every item is scored.
        megabytes: The bundle's files.
        path: Its folder.
    """

    items: int
    events: int
    people: int
    seconds: float
    index: dict[str, Any] | None
    megabytes: float
    path: Path


def some_likes(n_items: int, n_users: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who likes what: rows of people and of items, each pair once, in no order of time."""
    generator = np.random.default_rng(seed)
    topics = max(20, int(np.sqrt(n_items)))
    topic = generator.integers(0, topics, n_items)
    order = np.argsort(topic, kind="stable")
    starts = np.searchsorted(topic[order], np.arange(topics + 1))
    popular = 1 / np.arange(1, topics + 1) ** 0.7
    popular /= popular.sum()
    own = generator.choice(topics, size=(n_users, TOPICS_A_USER), p=popular)
    counts = (generator.pareto(1.5, n_users) + 1) * EVENTS_A_USER / 3
    users = np.repeat(np.arange(n_users), np.clip(counts, 5, 500).astype(np.int64))
    favourite = (generator.random(len(users)) ** 2 * TOPICS_A_USER).astype(np.int64)
    stray = generator.random(len(users)) < STRAY
    about = np.where(stray, generator.choice(topics, size=len(users), p=popular), own[users, favourite])
    sizes = np.maximum(starts[about + 1] - starts[about], 1)
    place = np.exp(generator.random(len(users)) * np.log(sizes + 1)).astype(np.int64) - 1
    items = order[np.minimum(starts[about] + np.minimum(place, sizes - 1), n_items - 1)]
    pairs = generator.permutation(np.unique(users * n_items + items))
    return pairs // n_items, pairs % n_items


def some_data(n_items: int, n_users: int, seed: int = 0) -> Dataset:
    """The likes as a data set, one event type."""
    users, items = some_likes(n_items, n_users, seed)
    catalogue = Catalogue(
        [f"item-{row:07d}" for row in range(n_items)],
        [json.dumps(attributes(row)) for row in range(n_items)],
    )
    return Dataset(
        catalogue,
        Vocabulary(f"user-{row}" for row in range(n_users)),
        users.astype(np.int32),
        items.astype(np.int32),
        np.zeros(len(users), dtype=np.int16),
        np.ones(len(users), dtype=np.float32),
        np.arange(len(users), dtype=np.int64) * SPREAD_MS,
        ("view",),
    )


def train(home: Path, n_items: int, params: MfParams, threads: int = 0) -> Trained:
    """Fit `mf` and write a bundle with it, and beside it people to ask for."""
    data = some_data(n_items, max(n_items // 4, 2000))
    started = time.perf_counter()
    retriever = MfRetriever(params, data.catalogue)
    facts = retriever.fit(data, FitContext(device="cpu", threads=threads))
    seconds = time.perf_counter() - started
    config = parse_config(CONFIG)
    with BundleRepository(home).writer() as writer:
        writer.write_catalogue(data.catalogue)
        retriever.save(writer.component_directory("retriever.mf"))
        # What a server falls back on.
        popular = PopularityRetriever(data.catalogue, distinct_users=False)
        popular_facts = popular.fit(data, FitContext(device="cpu", threads=threads))
        popular.save(writer.component_directory("retriever.popular"))
        bundle = writer.finish(
            recserve_version=recserve.__version__,
            config=config.model_dump(mode="json"),
            config_hash=config.training_hash(),
            seed=0,
            data=DataEntry(
                fingerprint="made up",
                users=data.n_users,
                items=n_items,
                events=len(data),
                until=int(data.timestamps[-1]),
            ),
            encoder_fingerprint=None,
            components={
                "retriever.mf": _entry("mf", params, facts),
                "retriever.popular": _entry("popular", PopularParams(), popular_facts),
            },
            metrics={},
        )
    _write_queries(home, data)
    return Trained(
        n_items,
        len(data),
        data.n_users,
        seconds,
        facts.get("index"),
        _megabytes(bundle),
        bundle.directory,
    )


def _entry(plugin: str, params: BaseModel, facts: Mapping[str, Any]) -> ComponentEntry:
    return ComponentEntry(
        plugin=plugin,
        distribution="recserve",
        version=recserve.__version__,
        params=params.model_dump(mode="json"),
        facts=dict(facts),
        saved=True,
    )


def _write_queries(home: Path, data: Dataset, count: int = 400) -> None:
    """Histories of some people, as a server would send them."""
    histories = data.histories
    users = np.random.default_rng(1).choice(len(histories), min(count, len(histories)), replace=False)
    asked = histories.select(np.sort(users).astype(np.int64)).last(200)
    np.savez(home / QUERIES, offsets=asked.offsets, items=asked.items)


def _megabytes(bundle: Bundle) -> float:
    return sum(entry.size for entry in bundle.manifest.files.values()) / 1e6


class Replica:
    """A process that loads a bundle like a retrieval replica and does what it is told.

    Args:
        home: Where the bundle is.
        bundle: Its id.
    """

    def __init__(self, home: Path, bundle: str) -> None:
        command = [sys.executable, "-m", "benchmarks.scale_replica", str(home), bundle]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.loaded = self._answer()

    def ask(self, **question: Any) -> dict[str, Any]:
        """Have it do something; see :mod:`benchmarks.scale_replica`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a replica died; its output is above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def measure(trained: Sequence[Trained], k: int, repeats: int, rounds: int) -> dict[int, list[dict[str, Any]]]:
    """Latencies and recall, sizes taking turns."""
    found: dict[int, list[dict[str, Any]]] = {one.items: [] for one in trained}
    for number in range(rounds):
        for one in trained:
            replica = Replica(one.path.parents[1], one.path.name)
            answer = replica.ask(do="time", k=k, repeats=repeats)
            if number == 0:
                answer |= replica.ask(do="recall", k=k)
            found[one.items].append(answer | replica.loaded)
            replica.close()
    return found


def measure_memory(one: Trained, replicas: int) -> dict[str, Any]:
    """Memory of one replica alone, and of several at once."""
    held = [Replica(one.path.parents[1], one.path.name) for _ in range(replicas)]
    for replica in held:
        replica.ask(do="time", k=200, repeats=3)
    together = [replica.ask(do="memory") for replica in held]
    for replica in held:
        replica.close()
    return {
        "replicas": replicas,
        "private_mb": max(each["private_mb"] for each in together),
        "beside_mb": max(each["beside_mb"] for each in together),
        "mapped_mb": max(each["mapped_mb"] for each in together),
        "mapped_node_mb": sum(each["mapped_share_mb"] for each in together),
        "torch": any(each["torch"] for each in together),
    }


def show(
    trained: Sequence[Trained],
    timed: dict[int, list[dict[str, Any]]],
    memory: dict[int, dict[str, Any]],
    served: Sequence[Served],
    console: Console,
) -> None:
    """Three tables."""
    latency = Table("items", "batch", "ms (range)", "times the smallest", "scoring all ms", "recall", "read")
    smallest = timed[trained[0].items]
    for one in trained:
        rounds = timed[one.items]
        for batch in rounds[0]["ms"]:
            each = [answer["ms"][batch] for answer in rounds]
            ratio = median(each) / median([answer["ms"][batch] for answer in smallest])
            exact = median([answer["exact_ms"][batch] for answer in rounds])
            effort = "all" if one.index is None else f"{one.index['product']['read']['200'] / one.items:.1%}"
            latency.add_row(
                f"{one.items:,}",
                batch,
                f"{median(each):.2f} ({min(each):.2f}-{max(each):.2f})",
                f"{ratio:.1f}",
                f"{exact:.2f}",
                f"{rounds[0]['recall']:.4f}",
                effort,
            )
    console.print(latency)
    size = Table(
        "items", "people", "fit s", "bundle MB", "load s", "beside mapped MB", "mapped MB", "of all MB"
    )
    for one in trained:
        held, rounds = memory[one.items], timed[one.items]
        size.add_row(
            f"{one.items:,}",
            f"{one.people:,}",
            f"{one.seconds:.1f}",
            f"{one.megabytes:,.0f}",
            f"{median([answer['load_s'] for answer in rounds]):.2f}",
            f"{held['beside_mb']:,.0f}",
            f"{held['mapped_mb']:,.0f}",
            f"{held['mapped_node_mb']:,.0f}",
        )
    console.print(size)
    console.print(
        f"'of all': what the bundle's files take in memory for {next(iter(memory.values()))['replicas']} "
        "replicas together; 'beside mapped': the largest of these replicas without those files.",
        highlight=False,
    )
    if not served:
        return
    replicas = Table(
        "served with rules", *(f"{name} MB" for name in DEPLOYMENTS), "request ms", "changed price s"
    )
    for server in served:
        beside = [f"{server.beside_mb[name]:,.0f}" for name in DEPLOYMENTS]
        replicas.add_row(f"{server.items:,}", *beside, f"{server.median_ms:.1f}", f"{server.change_s:.2f}")
    console.print(replicas)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=ITEMS, help="Sizes, the smallest first.")
    parser.add_argument("--dimension", type=int, default=64, help="Length of a factor.")
    parser.add_argument("--iterations", type=int, default=4, help="Sweeps of the factorisation.")
    parser.add_argument("-k", type=int, default=200, help="Items asked for.")
    parser.add_argument("--repeats", type=int, default=40, help="Batches timed in each turn.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns.")
    parser.add_argument("--replicas", type=int, default=REPLICAS, help="Processes that share a bundle.")
    parser.add_argument("--people", type=int, default=300, help="Who a server is asked for.")
    parser.add_argument("--requests", type=int, default=600, help="How often; 0 starts no server.")
    parser.add_argument("--approximate-above", type=int, help="Parameter of `mf`; default: its own.")
    parser.add_argument("--keep", type=Path, help="Keep bundles here, and use those that are there.")
    parser.add_argument("--quick", action="store_true", help="Small sizes: does it work?")
    parser.add_argument("--json", type=Path, help="Write all figures here.")
    options = parser.parse_args(arguments)
    if options.quick:
        options.items, options.repeats, options.rounds = (2_000, 20_000), 5, 1
        options.people, options.requests = min(options.people, 20), min(options.requests, 40)
        options.approximate_above = options.approximate_above or 10_000
    params = MfParams(
        dimension=options.dimension,
        iterations=options.iterations,
        regularization=0.004,
        half_life_events=0.0,
        **({} if options.approximate_above is None else {"approximate_above": options.approximate_above}),
    )
    with tempfile.TemporaryDirectory(prefix="recserve-scale-") as scratch:
        homes = options.keep or Path(scratch)
        trained = [trained_in(homes / f"{size}-{options.dimension}", size, params) for size in options.items]
        timed = measure(trained, options.k, options.repeats, options.rounds)
        memory = {one.items: measure_memory(one, options.replicas) for one in trained}
        served = [
            serve(one.path.parents[1], one.path.name, one.items, options.people, options.requests)
            for one in trained
            if options.requests
        ]
    console = Console(width=140)
    console.print(
        f"{machine()}; one thread, {options.k} items of {options.dimension} numbers", highlight=False
    )
    show(trained, timed, memory, served, console)
    write_json(
        options.json,
        {
            "machine": machine(),
            "trained": [asdict(one) | {"path": one.path.name} for one in trained],
            "timed": timed,
            "memory": memory,
            "served": [asdict(one) for one in served],
        },
    )


def trained_in(home: Path, size: int, params: MfParams) -> Trained:
    """Train, or take what an earlier run has kept."""
    record = home / "trained.json"
    if record.exists():
        known = json.loads(record.read_text("utf-8"))
        return Trained(**{**known, "path": home / "bundles" / known["path"]})
    home.mkdir(parents=True, exist_ok=True)
    print(f"training on {size:,} items", file=sys.stderr)
    one = train(home, size, params)
    record.write_text(json.dumps(asdict(one) | {"path": one.path.name}), "utf-8")
    return one


if __name__ == "__main__":
    main()
