"""How good recommendations are: every model on every data set of a folder, with intervals.

    python -m benchmarks.quality [--data DIR] [--models mf pipeline ...] [--splits temporal leave-one-out]
                                 [--variant NAME=MODEL:PARAMETER=VALUE,...] [--users N] [--out DIR]

A text encoder that is trained is a variant as well: ``head=content:encoder.tune=head``.

Each model is fitted and evaluated by `recserve evaluate` in a process of its own, so that the time it takes
and the memory it needs are its own. Text vectors are encoded once a data set. Without --data the sample
that comes with recserve is measured; :mod:`benchmarks.datasets` lists the formats that are read. A variant
is a model with other parameters: one more row, and its paired differences to the model. Writes
`quality.json`, `quality.md` and each model's report below --out; what is there already is not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from recserve_movielens.sources import SUGGESTED, MovieLensSmall

from benchmarks import datasets, variants
from benchmarks.common import CONFIG_NAME, SAMPLE, machine, write_json
from benchmarks.datasets import GIVEN, LEAVE_ONE_OUT, TEMPORAL, Data
from benchmarks.variants import Variant
from recserve.evaluation import Interval, paired_difference
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry

PIPELINE = "pipeline"
# In this order; those that are not installed are left out.
MODELS = (
    "popular", "trending", "item_knn", "user_knn", "ease", "mf", "content", "bert_lstm", PIPELINE,
)  # fmt: skip
NEED_TEXT = frozenset({"content"})
NEW_ITEMS = "new items"
COLD_ITEMS = "cold items"
WARM_ITEMS = "warm items"


@dataclass(frozen=True)
class Measured:
    """One model on one split of one data set.

    Attributes:
        data: Name of the data set.
        split: Name of the split.
        model: Name of the model, or of a variant of one.
        report: What `recserve evaluate` wrote about it.
        folder: Where that is, with the values of each user.
        seconds: Of the whole process.
        peak_mb: Most memory that the process held, in MB.
        variant_of: The model it is a variant of; None for a model as configured.
    """

    data: str
    split: str
    model: str
    report: Mapping[str, Any]
    folder: Path
    seconds: float
    peak_mb: float
    variant_of: str | None = None

    def figure(self, metric: str, part: str | None = None) -> Mapping[str, Any]:
        """Mean and interval of a metric, of all users or of a slice that begins so; {} if there is none."""
        if part is None:
            return dict(self.report["metrics"].get(metric, {}))
        for one in self.report["slices"]:
            if one["slice"].startswith(part):
                return dict(one["metrics"].get(metric, {}))
        return {}

    def values(self, metric: str, part: str | None = None) -> np.ndarray:
        """The metric of each user; NaN for users without a part in the slice that begins so.

        Raises:
            KeyError: There is no such slice.
        """
        if part is not None:
            metric = f"{metric} | {self._slice(part)}"
        column = pq.read_table(self.folder / "per_user.parquet", columns=[metric])[metric]
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)

    def _slice(self, part: str) -> str:
        for one in self.report["slices"]:
            if one["slice"].startswith(part):
                return str(one["slice"])
        raise KeyError(part)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    options = _parse(arguments)
    installed = Registry.discover().names(Stage.RETRIEVER)
    models = options.models or [name for name in MODELS if name == PIPELINE or name in installed]
    variants.check(options.variant, models, [*installed, PIPELINE])
    measured: list[Measured] = []
    notes: dict[str, str] = {}
    failed = 0
    for data in _data(options):
        if options.users is not None:
            data = data.sample(options.users)
        notes[data.name] = data.note
        home = _prepare(options.out / data.name, data)
        for split in data.splits:
            if options.splits and split not in options.splits:
                continue
            for model in [*models, *options.variant]:
                if _component(model) in NEED_TEXT and data.items is None:
                    print(f"{data.name}, {_name(model)}: left out, no item has a text", file=sys.stderr)
                    continue
                one = _measure(home, data, split, model, options)
                if one is None:
                    failed += 1
                else:
                    measured.append(one)
    if not notes:
        raise SystemExit("no data set whose format is known; see benchmarks/datasets.py for those that are")
    text = markdown(measured, notes)
    (options.out / "quality.md").write_text(text, encoding="utf-8")
    results = [as_json(model) for model in measured]
    write_json(options.out / "quality.json", {"machine": machine(), "failed": failed, "results": results})
    print(text)
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of data sets, each in a folder of its own")
    parser.add_argument("--sets", type=Path, nargs="+", help="these folders only")
    parser.add_argument("--models", nargs="+", help=f"default: of {', '.join(MODELS)} those installed")
    parser.add_argument(
        "--variant",
        type=variants.parse,
        action="append",
        default=[],
        metavar="NAME=MODEL:PARAMETER=VALUE,...",
        help="also measure a model with other parameters, such as no_text=bert_lstm:text=false; repeatable",
    )
    parser.add_argument("--splits", nargs="+", choices=(TEMPORAL, LEAVE_ONE_OUT, GIVEN))
    parser.add_argument("--users", type=int, help="only this many users of each data set, at random")
    parser.add_argument(
        "--queries-per-user",
        type=int,
        default=50,
        help="temporal split: at most (default: 50), evenly spread",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a fit; 0 takes all")
    parser.add_argument("--out", type=Path, default=Path(".recserve/quality"))
    return parser.parse_args(arguments)


def _data(options: argparse.Namespace) -> Iterator[Data]:
    """The data sets that were asked for, one at a time; the sample is one unless others are named."""
    if options.sets:
        for folder in options.sets:
            data = datasets.read(folder)
            if data is None:
                raise SystemExit(
                    f"--sets {folder}: no data set whose format is known; see benchmarks/datasets.py"
                )
            yield data
        return
    if options.data is None or not (options.data / SAMPLE).is_dir():
        tables = MovieLensSmall().read()
        yield Data(SAMPLE, tables.events, tables.items, timed=True)
    if options.data is not None:
        yield from datasets.find(options.data)


def _prepare(home: Path, data: Data) -> Path:
    """A folder with the data as files that recserve reads, and a configuration that suits them."""
    home.mkdir(parents=True, exist_ok=True)
    pq.write_table(data.events, home / "events.parquet")
    if data.test is not None:
        pq.write_table(data.test, home / "test.parquet")
    if data.items is not None:
        pq.write_table(data.items, home / "items.parquet")
    (home / CONFIG_NAME).write_text(yaml.safe_dump(suited_config(data)), encoding="utf-8")
    return home


def suited_config(data: Data) -> dict[str, Any]:
    """The defaults; films as the plugin for films suggests; without texts no retrieval by text."""
    if data.items is None:
        home = {"retrievers": [{"use": "mf"}, {"use": "popular", "candidates": 100}]}
        # All items have the same, empty text, and are encoded once.
        return {"scenarios": {"home": {**home, "ranker": {"use": "bert_lstm"}}}}
    if "genres" in json.loads(data.items["attributes"][0].as_py()):
        return {"item_text": SUGGESTED["item_text"]}
    return {}


def _component(model: str | Variant) -> str:
    return model.model if isinstance(model, Variant) else model


def _name(model: str | Variant) -> str:
    return model.name if isinstance(model, Variant) else model


def _measure(
    home: Path, data: Data, split: str, model: str | Variant, options: argparse.Namespace
) -> Measured | None:
    """One process; None if it failed, which is said and not hidden."""
    name = _name(model)
    folder = home / split / name
    record = folder / "run.json"
    command = [
        sys.executable, "-m", "recserve", "evaluate", "--home", str(home), "--model", _component(model),
        "--train", str(home / "events.parquet"), "--seed", str(options.seed), "--report", str(folder),
    ]  # fmt: skip
    if data.items is not None:
        command += ["--items", str(home / "items.parquet")]
    command += ["--test", str(home / "test.parquet")] if split == GIVEN else ["--split", split]
    if split == TEMPORAL:
        command += ["--queries-per-user", str(options.queries_per_user)]
    config = suited_config(data)
    if isinstance(model, Variant):
        config = model.configure(config)
        path = home / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        command += ["--config", str(path)]
    run = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    wanted = {"command": command[3:], "events": len(data.events), "config": config}
    if {key: run.get(key) for key in wanted} != wanted:
        print(f"{data.name}, {split}, {name} ...", file=sys.stderr, flush=True)
        done = _run(command, options.threads)
        if done is None:
            return None
        run = {**wanted, "seconds": done[0], "peak_mb": done[1]}
        write_json(record, run)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))["models"][0]
    base = model.model if isinstance(model, Variant) else None
    return Measured(data.name, split, name, report, folder, run["seconds"], run["peak_mb"], base)


def _run(command: Sequence[str], threads: int) -> tuple[float, float] | None:
    """Seconds and peak memory (MB) of a process; None if it failed."""
    environment = dict(os.environ)
    if threads:
        environment.update({name: str(threads) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")})
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        print(f"`{' '.join(command[2:])}` failed:\n{said.strip()[-2000:]}", file=sys.stderr)
        return None
    # Linux counts in kB, macOS in bytes.
    return round(seconds, 1), round(usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2), 1)


def over_best_part(measured: Sequence[Measured], metric: str) -> tuple[Measured, Measured, Interval] | None:
    """The pipeline, the best other model, and the paired difference; None without a pipeline or others."""
    pipeline = next((model for model in measured if model.model == PIPELINE), None)
    others = [model for model in measured if model.model != PIPELINE and model.variant_of is None]
    if pipeline is None or not others:
        return None
    best = max(others, key=lambda one: one.figure(metric)["mean"])
    return pipeline, best, paired_difference(pipeline.values(metric), best.values(metric))


def over_variant(model: Measured, variant: Measured, metric: str, part: str | None) -> Interval | None:
    """A model minus its variant over the same users; None where nobody has a part in the slice."""
    try:
        gain = model.values(metric, part) - variant.values(metric, part)
    except KeyError:
        return None
    gain = gain[~np.isnan(gain)]
    return paired_difference(gain, np.zeros_like(gain))


def markdown(measured: Sequence[Measured], notes: Mapping[str, str]) -> str:
    """A table for each data set and split."""
    parts = []
    for data, split in dict.fromkeys((model.data, model.split) for model in measured):
        rows = [model for model in measured if (model.data, model.split) == (data, split)]
        first = rows[0].report
        parts.append(f"## {data}, {split}\n")
        parts.append(
            f"{first['users']:,} users, {first['queries']:,} queries, {first['items']:,} items ranked"
            + "".join(f"; {note}" for note in (notes.get(data), first["note"]) if note)
            + "\n"
        )
        parts.append(
            "| model | nDCG@10 | HR@10 | nDCG@20 | Recall@20 | nDCG@10, cold items | coverage@10 | fit s "
            "| peak MB |\n|---|---|---|---|---|---|---|---|---|"
        )
        best = max(row.figure("ndcg@10")["mean"] for row in rows)
        for row in rows:
            cells = [_shown(row.figure("ndcg@10"), bold=row.figure("ndcg@10")["mean"] == best)]
            cells += [_shown(row.figure(metric)) for metric in ("hr@10", "ndcg@20", "recall@20")]
            cells += [_shown(row.figure("ndcg@10", COLD_ITEMS)), _shown(row.figure("coverage@10"))]
            cells += [f"{row.report['fit_seconds']:,.1f}", f"{row.peak_mb:,.0f}"]
            parts.append(f"| {row.model} | {' | '.join(cells)} |")
        gain = over_best_part(rows, "ndcg@10")
        if gain is not None:
            _, other, interval = gain
            parts.append(
                f"\npipeline over {other.model}, the best of the others, nDCG@10: {_difference(interval)}"
            )
        for variant in (row for row in rows if row.variant_of is not None):
            for model in (row for row in rows if row.model == variant.variant_of):
                for part in (None, NEW_ITEMS, COLD_ITEMS, WARM_ITEMS):
                    over = over_variant(model, variant, "ndcg@10", part)
                    if over is not None:
                        where = "" if part is None else f", {part}"
                        pair = f"{model.model} over {variant.model}, nDCG@10{where}"
                        parts.append(f"\n{pair}: {_difference(over)}")
        parts.append("")
    return "\n".join(parts)


def _difference(interval: Interval) -> str:
    verdict = "significant" if interval.excludes_zero else "not significant"
    return f"{interval.mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f}), {verdict}"


def as_json(one: Measured) -> dict[str, Any]:
    """A JSON object."""
    return {
        "data": one.data,
        "split": one.split,
        "model": one.model,
        **({} if one.variant_of is None else {"variant_of": one.variant_of}),
        "seconds": one.seconds,
        "peak_mb": one.peak_mb,
        "report": one.report,
    }


def _shown(figure: Mapping[str, Any], *, bold: bool = False) -> str:
    if not figure or figure["mean"] is None:
        return "-"
    mean = f"{figure['mean']:.4f}"
    low, high = figure["ci95"]
    return f"{f'**{mean}**' if bold else mean} ({low:.4f}-{high:.4f})"


if __name__ == "__main__":
    sys.exit(main())
