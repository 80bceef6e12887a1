"""``recserve evaluate``: rank the whole catalogue with single components or the pipeline and measure."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    out,
    progress_display,
    show_problems,
)
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from recserve.catalogue import Catalogue
    from recserve.cli.common import ProgressCallback
    from recserve.dataset import Dataset
    from recserve.evaluation import Recommender, Report, Split
    from recserve.registry import Registry, Resolved, ResolvedConfig, ResolvedPipeline

PIPELINE = "pipeline"


class SplitName(StrEnum):
    """Splits that are made here."""

    TEMPORAL = "temporal"
    LEAVE_ONE_OUT = "leave-one-out"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A retriever such as mf, or 'pipeline'; repeatable. Default: pipeline and components.",
        ),
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option("--split", help="How to split the data.", show_default=SplitName.TEMPORAL.value),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option("--train", help="Training events from a file (columns as for import), not the store."),
    ] = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="Test events from a file; together with --train.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="Items of --train and --test; default: those of --train.")
    ] = None,
    ks: Annotated[str, typer.Option("--k", help="Cut-offs, separated by commas.")] = "10,20",
    queries_per_user: Annotated[
        int | None,
        typer.Option(
            "--queries-per-user", min=1, help="Temporal split: at most this many of a user, spread evenly."
        ),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write an object here (a list for several models).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of train.seed.")] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Measure how good recommendations are: full ranking, with 95% bootstrap intervals over users.

    Every model ranks the whole catalogue; what a user already has is left out. Models are fitted here,
    on the training part of the split only.

    **temporal**: one moment splits all data. Each later event is predicted from what its user did
    before it. **leave-one-out**: the last event of each user; leaky, for comparison with papers.
    **--train FILE --test FILE**: a given split; each user's test items are predicted from all his
    training events. Test items that neither --train nor --items knows count as misses. Without
    timestamps the order of rows is taken for the order of events.
    """
    cut_offs = parse_ks(ks)
    source = Source(split, train, test, items, queries_per_user)
    source.check()
    if json_path is not None and not json_path.parent.is_dir():
        raise ConfigError(f"--json {json_path}: there is no folder {json_path.parent}")
    state = State(home, config)
    resolved = _with_seed(state, seed)
    models = choose_models(state.registry, resolved, model or [])

    with progress_display() as progress:
        bench = Bench(resolved, state.home, progress)
        chosen = source.split(state, bench, needs_vectors=any(one.needs_vectors for one in models))
        reports = [bench.measure(one, chosen, cut_offs) for one in models]
        progress.finish()

    if json_path is not None:
        objects = [report.to_json() for report in reports]
        text = json.dumps(objects[0] if len(objects) == 1 else objects, indent=1, allow_nan=False)
        json_path.write_text(text + "\n", encoding="utf-8")
    from recserve.evaluation import comparison_table

    out.print(comparison_table(reports))


def parse_ks(text: str) -> tuple[int, ...]:
    """Cut-offs such as ``5,10,20``, sorted and distinct.

    Raises:
        ConfigError: Something is not a whole number from 1 to 10,000.
    """
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or not 1 <= values[0] <= values[-1] <= 10_000:
        raise ConfigError(f"--k {text!r} must be whole numbers from 1 to 10000, such as 5,10,20")
    return tuple(values)


@dataclass(frozen=True)
class Model:
    """One model to measure.

    Attributes:
        name: As given.
        component: What to fit; None for the whole pipeline.
        needs_vectors: Whether items have to be encoded first.
    """

    name: str
    component: Resolved | None
    needs_vectors: bool


def choose_models(registry: Registry, resolved: ResolvedConfig, names: Sequence[str]) -> list[Model]:
    """Find models by name; none means the pipeline of the default scenario and its components.

    A component takes the parameters that the default scenario gives it, as retriever or as ranker,
    and its defaults otherwise.

    Raises:
        ConfigError: Unknown name, a component that cannot rank the catalogue by itself, or one that
            needs vectors while no encoder is configured.
    """
    from recserve.config import ComponentConfig, nearest
    from recserve.stages import Stage

    pipeline = resolved.scenarios[resolved.config.default_scenario]
    known = registry.names(Stage.RETRIEVER)
    if not names:
        parts = [*([pipeline.ranker] if pipeline.ranker else []), *pipeline.retrievers, pipeline.fallback]
        names = [PIPELINE, *(one.name for one in parts if one.name in known)]
    models = []
    for name in dict.fromkeys(names):
        if name == PIPELINE:
            encoded = any(one.component.needs_vectors for one in pipeline.components())
            models.append(Model(name, None, encoded))
            continue
        if name not in known and name not in registry.names(Stage.RANKER):
            raise ConfigError(
                f"--model: unknown model {name!r}{nearest(name, [*known, PIPELINE])}", field="--model"
            )
        params = _configured(pipeline, name)
        one = registry.choose(Stage.RETRIEVER, ComponentConfig(use=name, params=params), "--model")
        if one.component.needs_vectors and resolved.encoder is None:
            raise ConfigError(
                f"--model: {name!r} needs text vectors, but 'encoder' is null in the configuration",
                field="--model",
            )
        models.append(Model(name, one, one.component.needs_vectors))
    return models


def _configured(pipeline: ResolvedPipeline, name: str) -> dict[str, object]:
    """The parameters that a scenario gives a component of this name, {} if it does not use it."""
    config = pipeline.config
    used = [*config.retrievers, *([config.ranker] if config.ranker else []), config.fallback]
    return next((dict(one.params) for one in used if one.use == name), {})


@dataclass(frozen=True)
class Source:
    """Where events come from and how they are split, as given on the command line."""

    name: SplitName | None
    train: Path | None
    test: Path | None
    items: Path | None
    queries_per_user: int | None

    def check(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            ConfigError: Names the options.
        """
        if self.train is None and (self.test is not None or self.items is not None):
            option = "--test" if self.test is not None else "--items"
            raise ConfigError(f"{option} needs --train: without --train the store is evaluated")
        if self.train is not None and (self.test is None) == (self.name is None):
            raise ConfigError("--train needs either --test FILE, or --split to split the one file")
        if self.queries_per_user is not None and (
            self.test is not None or self.name is SplitName.LEAVE_ONE_OUT
        ):
            raise ConfigError("--queries-per-user is for the temporal split: others ask once a user")

    def split(self, state: State, bench: Bench, *, needs_vectors: bool) -> Split:
        """Read the data and split them.

        Raises:
            DataError: A file cannot be read, or nothing is left to train or to test on.
        """
        from recserve import evaluation

        types = state.config.event_types
        history = state.config.server.history
        test_events = None
        if self.train is None:
            tables = state.store.snapshot()
            state.store.close()
            if not tables.events.num_rows:
                raise DataError(f"the store in {state.home} holds no events: run 'recserve import' first")
            data = bench.dataset(_catalogue(tables.items, ()), tables.events, needs_vectors)
        else:
            train_events = self._events(self.train, state)
            known = None if self.items is None else self._items(self.items)
            catalogue = _catalogue(known, train_events["item_id"].unique().to_pylist())
            data = bench.dataset(catalogue, train_events, needs_vectors)
            if self.test is not None:
                test_events = self._events(self.test, state)
        if test_events is not None:
            return evaluation.given(data, test_events, types, history=history)
        if self.name is SplitName.LEAVE_ONE_OUT:
            return evaluation.leave_one_out(data, history=history)
        window = state.config.train.test_window
        return evaluation.temporal(data, window, history=history, queries_per_user=self.queries_per_user)

    def _events(self, path: Path, state: State) -> pa.Table:
        from recserve.importing import read_events

        timed = self.test is None and self.name is SplitName.TEMPORAL
        table, problems = read_events(path, state.config.event_types, strict=False, require_timestamp=timed)
        show_problems(problems)
        if not table.num_rows:
            raise DataError(f"{path} holds no usable event")
        return table

    def _items(self, path: Path) -> pa.Table:
        from recserve.importing import read_items

        table, problems = read_items(path, strict=False)
        show_problems(problems)
        return table


class Bench:
    """Encodes, fits and measures, with times taken.

    Args:
        resolved: The configuration.
        home: Home folder, for the cache of vectors.
        progress: Shown while it lasts.
    """

    def __init__(self, resolved: ResolvedConfig, home: Path, progress: ProgressCallback) -> None:
        self._resolved = resolved
        self._home = home
        self._progress = progress

    def dataset(self, catalogue: Catalogue, events: pa.Table, needs_vectors: bool) -> Dataset:
        """Events over a catalogue, which is encoded if a model needs it."""
        from recserve.dataset import Dataset
        from recserve.fitting import encode_catalogue

        data = Dataset.from_tables(catalogue, events, self._resolved.config.event_types)
        if not needs_vectors:
            return data
        encoded, _ = encode_catalogue(self._resolved, catalogue, self._home, self._progress)
        return data.with_catalogue(encoded)

    def measure(self, model: Model, split: Split, ks: Sequence[int]) -> Report:
        """Fit one model on the training part and evaluate it."""
        from recserve.evaluation import evaluate

        started = time.perf_counter()
        fitted = self._fit(model, split.training)
        seconds = time.perf_counter() - started
        return evaluate(
            fitted,
            split,
            ks,
            name=model.name,
            fit_seconds=seconds,
            seed=self._resolved.config.train.seed,
            progress=self._progress,
        )

    def _fit(self, model: Model, training: Dataset) -> Recommender:
        from recserve.evaluation import RetrieverRecommender
        from recserve.fitting import fit_component, fit_pipeline
        from recserve.stages import FitContext

        config = self._resolved.config
        context = FitContext(
            seed=config.train.seed,
            event_types=tuple(config.event_types),
            progress=self._progress,
            threads=config.train.threads,
            device=config.train.device,
        )
        if model.component is None:
            fitted = fit_pipeline(self._resolved, training, context)
            return fitted.recommender(config.default_scenario)
        retriever, _ = fit_component(model.component, training, context)
        return RetrieverRecommender(retriever)


def _with_seed(state: State, seed: int | None) -> ResolvedConfig:
    if seed is None:
        return state.resolved
    train = state.config.train.model_copy(update={"seed": seed})
    return state.registry.resolve(state.config.model_copy(update={"train": train}))


def _catalogue(items: pa.Table | None, more: Iterable[str]) -> Catalogue:
    """The items of a table and those that only events name, in the order of their ids."""
    from recserve.catalogue import Catalogue

    attributes = dict.fromkeys(more, "{}")
    if items is not None:
        attributes.update(zip(items["item_id"].to_pylist(), items["attributes"].to_pylist(), strict=True))
    ids = sorted(attributes)
    return Catalogue(ids, [attributes[item_id] for item_id in ids])
