"""What training on a large lake takes: seconds and memory of each step, for growing numbers of events.

    python -m benchmarks.lake [--events 1000000 10000000] [--dimension 64] [--asked 20000] [--models mf]
        [--json FILE]

Events are made up: a tenth as many people as events, a hundredth as many items, both popular by a power
law, user ids as UUIDs, times over 90 days. They are written as a lake, Parquet in a folder a day, and then
each size has a process of its own that does what a training run does:

- lake: read it into columns on disk, ids as codes, and build the data set;
- fit popular, item_knn and mf on the events before the newest tenth;
- evaluate each on some people's next event, all items ranked;
- write a bundle.

For each step: seconds, the highest resident memory with the files that are mapped (the kernel may drop
those), and the highest without (sampled).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import recserve
from benchmarks.common import machine, write_json
from recserve.bundles.manifest import ComponentEntry, DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.config import ComponentConfig, Config
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset, Tables
from recserve.data.events.coverage import coverage
from recserve.evaluation import RetrieverRecommender, Split, evaluate, temporal
from recserve.plugin.protocols import FitContext, Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import Resolved
from recserve.store.lake import LakeFolder, read_lake
from recserve.training.fitting import catalogue_of, fit_component

EVENTS = (1_000_000, 10_000_000)
DAYS = 90
FIRST_DAY = 20_000
DAY_MS = 86_400_000
MODELS = ("popular", "item_knn", "mf")


def write_lake(folder: Path, events: int, seed: int = 0) -> None:
    """Write made-up events, a file a day, and their items."""
    generator = np.random.default_rng(seed)
    users, items = max(events // 10, 100), max(events // 100, 100)
    ids = pa.array([str(uuid.UUID(bytes=generator.bytes(16))) for _ in range(users)])
    for day in range(DAYS):
        count = events * (day + 1) // DAYS - events * day // DAYS
        place = folder / "events" / f"day={np.datetime64(FIRST_DAY + day, 'D')}"
        place.mkdir(parents=True)
        moments = np.sort(generator.integers(0, DAY_MS, count)) + (FIRST_DAY + day) * DAY_MS
        table = {
            "user_id": ids.take(pa.array(power_law(generator, users, count))),
            "item_id": pa.array([f"item-{row:07d}" for row in power_law(generator, items, count).tolist()]),
            "event": pa.repeat("view", count),
            "timestamp": pa.array(moments).cast(pa.timestamp("ms")),
        }
        pq.write_table(pa.table(table), place / "part.parquet", compression="zstd")
    names = [f"item-{row:07d}" for row in range(items)]
    texts = pa.table({"item_id": names, "attributes": ["{}"] * items})
    pq.write_table(texts, folder / "items.parquet")


def power_law(generator: np.random.Generator, size: int, count: int) -> NDArray[np.int64]:
    """Rows below ``size``, the lower the more frequent: density falls with the root of the row."""
    return (generator.random(count) ** 2 * size).astype(np.int64)


class Steps:
    """Stopwatch of steps: seconds, and the highest memory of each."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        Path("/proc/self/clear_refs").write_text("5")  # the highest begins anew
        done, anonymous = threading.Event(), [0]

        def sample() -> None:
            while not done.wait(0.05):
                anonymous.append(_kilobytes("RssAnon"))

        sampler = threading.Thread(target=sample)
        sampler.start()
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            done.set()
            sampler.join()
        anonymous.append(_kilobytes("RssAnon"))
        self.taken[name] = {
            "seconds": round(seconds, 2),
            "peak_mb": round(_kilobytes("VmHWM") / 1024),
            "anonymous_mb": round(max(anonymous) / 1024),
        }
        print(name, json.dumps(self.taken[name]), file=sys.stderr, flush=True)


def _kilobytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split(None, 1)[0])


def measure(folder: Path, dimension: int, asked: int, models: Sequence[str] = MODELS) -> dict[str, Any]:
    """Do all steps on the lake of a folder, in this process."""
    steps, config, registry = Steps(), Config(), Registry.discover()
    with steps.step("lake to columns"):
        found = read_lake(LakeFolder(str(folder / "events")), config.event_types, folder)
        tables = Tables(pq.read_table(folder / "items.parquet"), found.table)
    with steps.step("coverage"):
        covered = coverage(tables, config.event_types)
    with steps.step("data set"):
        data = Dataset.from_tables(catalogue_of(tables), tables.events, config.event_types)
    with steps.step("split"):
        split = some_people(temporal(data, queries_per_user=1), asked)
    context = FitContext(seed=0, event_types=tuple(config.event_types), threads=0, device="cpu")
    fitted: dict[str, tuple[Resolved, Any, dict[str, Any]]] = {}
    for name in models:
        params = {"dimension": dimension} if name == "mf" else {}
        chosen = registry.choose(Stage.RETRIEVER, ComponentConfig(use=name, params=params), "benchmark")
        with steps.step(f"fit {name}"):
            fitted[name] = (chosen, *fit_component(chosen, split.training, context))
    quality = {}
    for name, (_, retriever, _) in fitted.items():
        with steps.step(f"evaluate {name}"):
            report = evaluate(RetrieverRecommender(retriever), split, (10,), name=name)
        quality[name] = round(report.metrics["ndcg@10"].mean, 5)
    with steps.step("bundle"):
        write_bundle(folder, data, fitted)
    return {
        "events": covered.learnt,
        "users": data.n_users,
        "items": data.n_items,
        "asked": split.n_users,
        "ndcg@10": quality,
        "steps": steps.taken,
    }


def some_people(split: Split, count: int) -> Split:
    """The same split with the queries of some people only."""
    people = np.unique(split.groups)
    if len(people) > count:
        people = np.sort(np.random.default_rng(0).choice(people, count, replace=False))
    taken = split.take(np.flatnonzero(np.isin(split.groups, people)))
    return replace(taken, groups=np.searchsorted(people, taken.groups), n_users=len(people))


def write_bundle(
    home: Path, data: Dataset, fitted: Mapping[str, tuple[Resolved, Any, dict[str, Any]]]
) -> None:
    """Write a bundle of the fitted models."""
    config = Config()
    with BundleRepository(home).writer() as writer:
        writer.write_catalogue(Catalogue(data.catalogue.ids, data.catalogue.attributes_json))
        entries = {}
        for name, (chosen, retriever, facts) in fitted.items():
            retriever.save(writer.component_directory(f"retriever.{name}"))
            entries[f"retriever.{name}"] = ComponentEntry(
                plugin=chosen.plugin,
                distribution="recserve",
                version=recserve.__version__,
                params=chosen.params.model_dump(mode="json"),
                facts=facts,
                saved=True,
            )
        entry = DataEntry(
            fingerprint=data.fingerprint(),
            users=data.n_users,
            items=data.n_items,
            events=len(data),
            until=int(data.timestamps[-1]),
        )
        writer.finish(
            recserve_version=recserve.__version__,
            config=config.trained(),
            config_hash=config.training_hash(),
            seed=0,
            data=entry,
            encoder_fingerprint=None,
            components=entries,
            metrics={},
        )


def show(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """A table of steps, a group of columns a size."""
    sizes = [f"{one['events']:,}" for one in found]
    columns = [f"{size}\n{what}" for size in sizes for what in ("s", "peak MB", "without files MB")]
    table = Table("step of events", *columns)
    for name in found[0]["steps"]:
        cells = []
        for one in found:
            step = one["steps"][name]
            cells += [f"{step['seconds']:.1f}", f"{step['peak_mb']:,}", f"{step['anonymous_mb']:,}"]
        table.add_row(name, *cells)
    console.print(table)
    for one in found:
        console.print(
            f"{one['events']:,} events of {one['users']:,} people on {one['items']:,} items, "
            f"{one['asked']:,} people asked: nDCG@10 "
            + ", ".join(f"{name} {value:.4f}" for name, value in one["ndcg@10"].items()),
            highlight=False,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=EVENTS, help="Sizes.")
    parser.add_argument("--dimension", type=int, default=64, help="Length of a factor of mf.")
    parser.add_argument("--asked", type=int, default=20_000, help="People that models are evaluated on.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="What is fitted.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:  # the process of one size
        print(json.dumps(measure(chosen.folder, chosen.dimension, chosen.asked, chosen.models)))
        return
    console = Console(width=max(120, 40 + 40 * len(chosen.events)))
    found = []
    for events in chosen.events:
        with tempfile.TemporaryDirectory(prefix="recserve-lake-") as name:
            write_lake(Path(name), events)
            options = ["--dimension", str(chosen.dimension), "--asked", str(chosen.asked)]
            options += ["--models", *chosen.models]
            command = [sys.executable, "-m", "benchmarks.lake", "--folder", name, *options]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            show(found[-1:], console)
    show(found, console)
    console.print(machine(), highlight=False)
    write_json(chosen.json, {"machine": machine(), "sizes": found})


if __name__ == "__main__":
    main()
