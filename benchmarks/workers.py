"""What it costs to fit on workers: each model by one thread, by two, and by two workers of Ray.

    python -m benchmarks.workers [--events 1000000] [--models item_knn mf] [--repeats 3] [--json FILE]

Events are those of :mod:`benchmarks.lake`: a tenth as many people as events, a hundredth as many items, both
popular by a power law. Each way has a process of its own, so that numerical libraries start with its threads;
ways are measured in turn, and the table has medians. Two workers of one thread each are held against two
threads of one process, which is what they replace; CPU seconds count the workers' processes too.

Starting Ray, and the first copy of the data that workers read, are shown apart: a cluster pays them once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks import serving_load
from benchmarks.common import machine, write_json
from benchmarks.lake import write_lake
from recserve.config import ComponentConfig, Config
from recserve.data.dataset import Dataset, Tables
from recserve.data.system.cpus import thread_variables
from recserve.plugin.executor import Executor, InProcess
from recserve.plugin.protocols import FitContext, Stage
from recserve.plugin.registry import Registry
from recserve.store.lake import LakeFolder, read_lake
from recserve.training.fitting import catalogue_of, fit_component

MODELS = ("popular", "item_knn", "mf", "ease", "graph_filter")
WAYS = {"one thread": (1, 0), "two threads": (2, 0), "two workers": (1, 2)}
"""Threads of the process, and workers."""


@contextlib.contextmanager
def executor(folder: Path, threads: int, workers: int) -> Iterator[Executor]:
    """What computes parts, for as long as it is needed."""
    if not workers:
        yield InProcess("cpu", threads)
        return
    # Imports Ray, which a process without workers does without.
    from recserve_deployments.jobs.session import executor_session

    with executor_session(
        folder,
        "local",
        workers=workers,
        cpus=1.0,
        gpus=0.0,
        checkpoints=folder / "checkpoints",
        placed=lambda place: None,
    ) as made:
        yield made


def cpu_seconds() -> float:
    """CPU time of this process and all below it that are there."""
    below = [process.pid for process in psutil.Process().children(recursive=True)]
    return serving_load.cpu_seconds({"all": [os.getpid(), *below]})["all"]


def measure(folder: Path, threads: int, workers: int, models: Sequence[str]) -> dict[str, Any]:
    """Fit all models in this process or on its workers; seconds and CPU seconds of each."""
    config, registry = Config(), Registry.discover()
    found = read_lake(LakeFolder(str(folder / "events")), config.event_types, folder)
    tables = Tables(pq.read_table(folder / "items.parquet"), found.table)
    data = Dataset.from_tables(catalogue_of(tables), tables.events, config.event_types)
    taken: dict[str, Any] = {}
    started = time.perf_counter()
    with executor(folder, threads, workers) as made:
        list(made.map(abs, [1, 2]))
        taken["start"] = {"seconds": time.perf_counter() - started}
        context = FitContext(
            seed=0, event_types=tuple(config.event_types), threads=threads, device="cpu", executor=made
        )
        for name in models:
            # The same work everywhere: parameters that are searched would stop at different times.
            params = {"dimension": 64, "regularization": 0.05} if name == "mf" else {}
            chosen = registry.choose(Stage.RETRIEVER, ComponentConfig(use=name, params=params), "benchmark")
            clock, cpu = time.perf_counter(), cpu_seconds()
            fit_component(chosen, data, context)
            taken[name] = {"seconds": time.perf_counter() - clock, "cpu": cpu_seconds() - cpu}
    return taken


def show(found: Mapping[str, Sequence[Mapping[str, Any]]], models: Sequence[str], console: Console) -> None:
    """Medians, and each way beside two threads."""
    columns = [f"{way}\n{what}" for way in WAYS for what in ("s", "CPU s")]
    table = Table("fit", *columns, "two threads /\ntwo workers")
    for name in models:
        medians = {
            way: [statistics.median(run[name][what] for run in runs) for what in ("seconds", "cpu")]
            for way, runs in found.items()
        }
        cells = [f"{value:.2f}" for way in WAYS for value in medians[way]]
        table.add_row(name, *cells, f"{medians['two threads'][0] / medians['two workers'][0]:.2f}")
    console.print(table)
    start = statistics.median(run["start"]["seconds"] for run in found["two workers"])
    console.print(f"a Ray of its own and the first call of its workers: {start:.1f} s", highlight=False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="Made-up events.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="What is fitted.")
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each way.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.folder is not None:  # the process of one way
        print(json.dumps(measure(chosen.folder, *WAYS[chosen.way], chosen.models)))
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="recserve-workers-") as name:
        write_lake(Path(name), chosen.events)
        for _ in range(chosen.repeats):
            for way, (threads, _workers) in WAYS.items():
                command = [sys.executable, "-m", "benchmarks.workers", "--folder", name, "--way", way]
                done = subprocess.run(
                    [*command, "--models", *chosen.models],
                    env={**os.environ, **thread_variables(threads)},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
    console = Console(width=120)
    show(found, chosen.models, console)
    console.print(f"{chosen.events:,} events; {machine()}", highlight=False)
    write_json(chosen.json, {"machine": machine(), "events": chosen.events, "ways": found})


if __name__ == "__main__":
    main()
