"""What rankers gain by features: LambdaMART and DeepFM beside an order without them.

    python -m benchmarks.features [--data weekend movielens-small without-texts] [--users N] [--out DIR]

``weekend`` is made up: everybody likes items of one topic on weekdays and of another at weekends, and the
days on which somebody acts are drawn at random, so that the events before say nothing of the day of the next.
``movielens-small`` is the sample with its genres and years, ``without-texts`` the same for little time: no
encoder, no sequence model, and ``mf`` alone as what the rankers are held against; elsewhere that is the
default ranker. Each has the same retrievers under all rankers, fitted once on the training part of a split by
time. Figures are nDCG@10 with 95% intervals over users, paired differences, CPU seconds of the rankers' fits
and CPU milliseconds of ranking one request's candidates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from recserve_movielens.sources import SUGGESTED, MovieLensSmall

from benchmarks.common import SAMPLE, cpu_seconds, machine, write_json
from recserve import Dataset, FitContext, Queries, Tables, item_table
from recserve.bundles.catalogue_vectors import encode_catalogue
from recserve.config import parse_config
from recserve.evaluation import Interval, Split, evaluate, paired_difference, temporal
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import Fitted, catalogue_of, fit_all, fit_context, fit_windows

WEEKEND = "weekend"
WITHOUT_TEXTS = "without-texts"
RANKERS = ("lambdamart", "deepfm")
METRIC = "ndcg@10"
SCENARIO = "home"
_DAY_MS = 86_400_000
# A Thursday, as 1 January 1970 was.
_START_MS = 18_263 * _DAY_MS
_TIMED = 200


@dataclass(frozen=True)
class Row:
    """One pipeline.

    Attributes:
        name: Ranker, and what it ranks.
        figure: nDCG@10.
        gain: Over the first pipeline with the same candidates.
        fit_seconds: CPU seconds of the ranker's fits, teaching included.
        answer_ms: CPU milliseconds of ranking one request's candidates.
        facts: What the ranker reported.
    """

    name: str
    figure: Interval
    gain: Interval
    fit_seconds: float
    answer_ms: float
    facts: Mapping[str, Any]


def weekend_tables(
    n_users: int = 1000,
    n_items: int = 2000,
    topics: int = 8,
    length: int = 50,
    days: int = 280,
    seed: int = 0,
) -> Tables:
    """Users with a topic for weekdays and another one for weekends; an item has one topic.

    Args:
        n_users: Users.
        n_items: Items.
        topics: Topics.
        length: Events of each user, each on a day of its own.
        days: Days that these are drawn from.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    by_day_kind = np.stack([rng.permutation(topics)[:2] for _ in range(n_users)])
    share = 1.0 / np.arange(10, 10 + n_items // topics)
    users, items, times = [], [], []
    for user in range(n_users):
        chosen = np.sort(rng.choice(days, length, replace=False))
        topic = by_day_kind[user, ((chosen + 3) % 7 >= 5).astype(int)]
        own = rng.choice(len(share), length, p=share / share.sum()) * topics + topic
        # A fifth of the events is on anything.
        items.append(np.where(rng.random(length) < 0.2, rng.integers(0, n_items, length), own))
        users.append(np.full(length, user))
        times.append(_START_MS + chosen * _DAY_MS + rng.integers(0, _DAY_MS, length))
    names = [f"i{item:05d}" for item in range(n_items)]
    events = pa.table(
        {
            "event_id": [f"e{number}" for number in range(n_users * length)],
            "user_id": [f"u{user:05d}" for user in np.concatenate(users)],
            "item_id": [names[item] for item in np.concatenate(items)],
            "event": ["view"] * (n_users * length),
            "value": pa.array([None] * (n_users * length), pa.float64()),
            "timestamp": pa.array(np.concatenate(times), pa.int64()),
        }
    )
    items_with_topics = ((name, {"topic": f"topic {item % topics}"}) for item, name in enumerate(names))
    return Tables(item_table(items_with_topics), events)


def weekend_config(ranker: Mapping[str, Any], further: Sequence[str] = ()) -> dict[str, Any]:
    """No item has a text: the default without what reads texts."""
    retrievers = [
        {"use": "mf"},
        {"use": "item_knn"},
        {"use": "popular"},
        *({"use": name} for name in further),
    ]
    for part in (ranker, *retrievers):
        if part["use"] == "bert_lstm":
            part["params"] = {"text": False}  # type: ignore[index]  # plain dictionaries
    return {"encoder": None, "scenarios": {SCENARIO: {"retrievers": retrievers, "ranker": dict(ranker)}}}


def movielens_config(ranker: Mapping[str, Any], further: Sequence[str] = ()) -> dict[str, Any]:
    """As the plugin for films suggests."""
    home = SUGGESTED["scenarios"][SCENARIO]
    retrievers = [*home["retrievers"], *({"use": name} for name in further)]
    scenario = {**home, "retrievers": retrievers, "ranker": dict(ranker)}
    return {"item_text": SUGGESTED["item_text"], "scenarios": {SCENARIO: scenario}}


def plain_config(ranker: Mapping[str, Any] | None, further: Sequence[str] = ()) -> dict[str, Any]:
    """The sample without texts: ``mf`` alone, or a ranker over it, ``item_knn`` and ``popular``."""
    retrievers = [{"use": name} for name in ("mf", "item_knn", "popular")]
    if ranker is None:
        return {"encoder": None, "scenarios": {SCENARIO: {"retrievers": retrievers[:1], "ranker": None}}}
    return {"encoder": None, "scenarios": {SCENARIO: {"retrievers": retrievers, "ranker": dict(ranker)}}}


Configure = Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Pipeline:
    """What is measured.

    Attributes:
        name: Of its row.
        settings: Its configuration.
        base: Whether the following ones are held against it.
    """

    name: str
    settings: dict[str, Any]
    base: bool = False


def pipelines(name: str) -> list[Pipeline]:
    """Pipelines of a data set; the last one has all retrievers."""
    if name == WITHOUT_TEXTS:
        rankers = [Pipeline(ranker, plain_config({"use": ranker})) for ranker in RANKERS]
        return [Pipeline("mf alone", plain_config(None), base=True), *rankers]
    configure: Configure = weekend_config if name == WEEKEND else movielens_config
    found = []
    for further in ([], ["bert_lstm"]):
        for ranker in ("bert_lstm", *RANKERS):
            label = ranker if not further else f"{ranker}, with candidates of {', '.join(further)}"
            found.append(Pipeline(label, configure({"use": ranker}, further), base=ranker == "bert_lstm"))
    return found


def measured(tables: Tables, wanted: Sequence[Pipeline], cache: Path, seed: int = 0) -> Iterator[Row]:
    """Fit the retrievers once, then each ranker.

    Args:
        tables: The data; the newest tenth of the events is tested on.
        wanted: See :func:`pipelines`.
        cache: Home folder, for the cache of vectors.
        seed: Of the fits.
    """
    registry = Registry.discover()

    def resolve(settings: dict[str, Any]) -> ResolvedConfig:
        return registry.resolve(parse_config({**settings, "train": {"seed": seed}}, "benchmark"))

    wide = resolve(wanted[-1].settings)
    catalogue = catalogue_of(tables)
    if wide.encoder is not None:
        catalogue, _ = encode_catalogue(wide, catalogue, cache, lambda label, done, total: None, None)
    data = Dataset.from_tables(catalogue, tables.events, wide.config.event_types)
    split = temporal(data, 0.1, queries_per_user=50)
    context = fit_context(wide.config)
    windows = fit_windows(wide, split.training, context)
    windows.left_out.clear()
    final = fit_all(wide, split.training, context, windows)
    base: np.ndarray | None = None
    for pipeline in wanted:
        base = None if pipeline.base else base
        row, values = _row(resolve(pipeline.settings), pipeline.name, split, context, windows, final, base)
        base = values if base is None else base
        yield row


def _row(
    resolved: ResolvedConfig,
    name: str,
    split: Split,
    context: FitContext,
    windows: Fitted,
    final: Fitted,
    base: np.ndarray | None,
) -> tuple[Row, np.ndarray]:
    ranker = resolved.scenarios[SCENARIO].ranker
    key = "" if ranker is None else ranker.key
    fresh = [without(fitted, key) for fitted in (windows, final)]
    started = cpu_seconds()
    taught = fit_windows(resolved, split.training, context, fresh[0])
    # What is compared are rankers; which order training would choose is in the facts.
    order = taught.orders.get(SCENARIO)
    taught.left_out.clear()
    fitted = fit_all(resolved, split.training, context, taught, fresh[1])
    seconds = cpu_seconds() - started
    fitted.orders.clear()
    pipeline = fitted.recommender(SCENARIO)
    report = evaluate(pipeline, split, name=name)
    values = np.asarray(report.per_user[METRIC])
    facts = {
        name: fact
        for name, fact in taught.facts.get(key, {}).items()
        if name in ("trees", "epochs", "validation", "gains", "idle")
    }
    facts["order"] = None if order is None else order.facts
    gain = paired_difference(values, values if base is None else base)
    return Row(name, report.metrics[METRIC], gain, seconds, _answer_ms(pipeline, split), facts), values


def without(fitted: Fitted, key: str) -> Fitted:
    """A fit less one component, for that one to be fitted again."""
    objects = {name: built for name, built in fitted.objects.items() if name != key}
    return Fitted(fitted.resolved, fitted.catalogue, objects, fitted.facts, {}, {}, fitted.seconds)


def _answer_ms(pipeline: Any, split: Split) -> float:
    """CPU milliseconds of ranking the candidates of one request, mean of 200; 0 without a ranker."""
    if pipeline.ranker is None:
        return 0.0
    queries = next(batch for _, batch, _ in split.batches(min(_TIMED, len(split))))
    alone: list[Queries] = [queries.part(place, place + 1) for place in range(len(queries))]
    found = [pipeline.retrieve(query)[0] for query in alone]
    pipeline.ranker.score(alone[0], found[0])
    started = cpu_seconds()
    for query, candidates in zip(alone, found, strict=True):
        pipeline.ranker.score(query, candidates)
    return (cpu_seconds() - started) / len(alone) * 1e3


def markdown(data: str, rows: Sequence[Row]) -> str:
    """A table of one data set."""
    lines = [
        f"## {data}\n",
        "| ranker | nDCG@10 | over the first | fit CPU s | ranking CPU ms |\n|---|---|---|---|---|",
    ]
    for row in rows:
        figure, gain = row.figure, row.gain
        difference = f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
        lines.append(
            f"| {row.name} | {figure.mean:.4f} ({figure.low:.4f} to {figure.high:.4f}) | "
            f"{difference if gain.mean else '-'} | {row.fit_seconds:.1f} | {row.answer_ms:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", nargs="+", choices=(WEEKEND, SAMPLE, WITHOUT_TEXTS), default=(WEEKEND, SAMPLE)
    )
    parser.add_argument("--users", type=int, default=1000, help="of the data that are made up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(".recserve/features"))
    options = parser.parse_args(arguments)
    results: dict[str, Any] = {"machine": machine()}
    for name in options.data:
        print(f"{name} ...", file=sys.stderr, flush=True)
        tables = weekend_tables(options.users) if name == WEEKEND else MovieLensSmall().read()
        rows = list(measured(tables, pipelines(name), options.out / "home", options.seed))
        print(markdown(name, rows), flush=True)
        results[name] = [
            {
                "ranker": row.name,
                METRIC: [row.figure.mean, row.figure.low, row.figure.high],
                "gain": [row.gain.mean, row.gain.low, row.gain.high],
                "fit_cpu_seconds": round(row.fit_seconds, 1),
                "ranking_cpu_ms": round(row.answer_ms, 2),
                "facts": row.facts,
            }
            for row in rows
        ]
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "features.json", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
