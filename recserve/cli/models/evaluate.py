"""``recserve evaluate``: rank the whole catalogue with single components or the pipeline and measure."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import (
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    err,
    out,
    progress_display,
)
from recserve.cli.models.splitting import Source, SplitName, parse_ks
from recserve.cli.models.train import summary_table, with_seed
from recserve.cli.models.workers import (
    AddressOption,
    CheckpointsOption,
    CpusOption,
    GpusOption,
    Workers,
    WorkersOption,
)
from recserve.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from recserve.cli.common import ProgressCallback
    from recserve.data.catalogue import Catalogue
    from recserve.data.dataset import Dataset
    from recserve.evaluation import Findings, Recommender, Report, Split
    from recserve.plugin.executor import Executor
    from recserve.plugin.registry import Registry
    from recserve.plugin.resolved import Resolved, ResolvedConfig, ResolvedPipeline
    from recserve.training.automatic import AutomaticPipeline

PIPELINE = "pipeline"
BASELINES = ("popular", "trending", "item_knn", "user_knn", "ease")


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
    automatic: Annotated[
        bool | None,
        typer.Option(
            "--auto/--no-auto",
            help="Choose the pipeline's parts on the training data, as `recserve train --auto` does.",
            show_default="--auto for --train without a configuration file",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help=f"Measure as well: {', '.join(BASELINES)}.")
    ] = False,
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
    repeats: Annotated[
        bool,
        typer.Option(
            "--repeats", help="Temporal split: also ask for items that the user has had, and rank them."
        ),
    ] = False,
    users: Annotated[
        int | None,
        typer.Option(
            "--users",
            min=1,
            help="Measure on this many users, drawn at random; items are all ranked. For large data.",
            show_default="all",
        ),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write an object here (a list for several models).")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Folder for a page with plots, the same as JSON, and values by user."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="ATTRIBUTE",
            help="Item attribute whose mix in lists is compared with the user's own.",
            show_default="the one most items have",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of train.seed.")] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    cpus: CpusOption = 1.0,
    gpus: GpusOption = 0.0,
    checkpoints: CheckpointsOption = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Measure how good recommendations are: full ranking, with 95% bootstrap intervals over users.

    Every model ranks the whole catalogue; what a user already has is left out,
    unless --repeats. Models are fitted here,
    on the training part of the split only.

    **temporal**: one moment splits all data. Each later event is predicted from what its user did
    before it. **leave-one-out**: the last event of each user; leaky, for comparison with papers.
    **--train FILE --test FILE**: a given split; each user's test items are predicted from all his
    training events. Test items that neither --train nor --items knows count as misses. Without
    timestamps the order of rows is taken for the order of events.
    """
    from recserve import evaluation

    cut_offs = parse_ks(ks)
    source = Source(split, train, test, items, queries_per_user, repeats)
    source.check()
    if json_path is not None and not json_path.parent.is_dir():
        raise ConfigError(f"--json {json_path}: there is no folder {json_path.parent}")
    if report is not None and report.exists() and not report.is_dir():
        raise ConfigError(f"--report {report}: this is a file; name a folder")
    # Files need no home; vectors are kept there all the same.
    state = State(home, config, creates=train is not None)
    resolved = with_seed(state, seed)
    models = choose_models(state.registry, resolved, model or [], baselines=baselines)

    if automatic is None:
        automatic = train is not None and state.config_file is None
    asked = Workers(address, workers, cpus, gpus, checkpoints)
    with asked.executor(state) as executor, progress_display() as progress:
        bench = Bench(resolved, state.home, progress, executor, state.registry if automatic else None)
        needs_vectors = any(chosen_model.needs_vectors for chosen_model in models)
        chosen, checks = source.split(state, partial(bench.dataset, needs_vectors=needs_vectors))
        if calibrate is None:
            calibrate = evaluation.choose_attribute(chosen.training.catalogue)
        if users is not None:
            chosen = chosen.sample(users, resolved.config.train.seed)
        alone = automatic and not model
        reports = bench.measure_all(models[:1] if alone else models, chosen, cut_offs, calibrate)
        if alone:
            # Which parts there are is known once the pipeline is chosen.
            reports += bench.measure_all(bench.parts(models, chosen.training), chosen, cut_offs, calibrate)
        progress.finish()

    findings = evaluation.Findings(reports, checks, _command())
    if json_path is not None:
        objects = findings.models
        text = json.dumps(objects[0] if len(objects) == 1 else objects, indent=1, allow_nan=False)
        json_path.write_text(text + "\n", encoding="utf-8")
    if bench.chosen is not None:
        out.print(summary_table(resolved.config.default_scenario, bench.chosen.rows))
    out.print(evaluation.comparison_table(reports))
    show_findings(findings)
    if report is not None:
        evaluation.write_report(report, findings)
        out.print(f"Report: {report / 'report.html'}", soft_wrap=True)


def show_findings(findings: Findings) -> None:
    """What belongs below the table: the pipeline over its best part, its stages, doubtful leak checks."""
    from recserve import evaluation

    if len(findings.reports) > 1:
        out.print(evaluation.trade_off_view(findings.trade_offs, "trade-offs"))
    gain = findings.over_best_part
    if gain is not None:
        interval = gain.interval
        verdict = "significant" if interval.excludes_zero else "not significant"
        out.print(
            f"pipeline over {gain.second}, the best of the others, {gain.metric}: {interval.mean:+.4f} "
            f"({interval.low:+.4f} to {interval.high:+.4f}), {verdict}",
        )
    for report in findings.reports:
        if report.stages:
            out.print(f"{report.model} by stage: {evaluation.stage_summary(report, findings.metric)}")
    for check in findings.all_checks:
        if not check.passed:
            err.print(f"leak check: {check.detail}", style="yellow", markup=False)


def _command() -> str:
    """What was typed, with the program by its name only."""
    return shlex.join(["recserve", *sys.argv[1:]])


@dataclass(frozen=True)
class Model:
    """One model to measure.

    Attributes:
        name: As given.
        component: What to fit; None for the whole pipeline.
        needs_vectors: Whether items have to be encoded first.
        optional: Left out if it refuses the data: nobody named it.
    """

    name: str
    component: Resolved | None
    needs_vectors: bool
    optional: bool = False


def choose_models(
    registry: Registry, resolved: ResolvedConfig, names: Sequence[str], *, baselines: bool = False
) -> list[Model]:
    """Find models by name; none means the pipeline of the default scenario and its components.

    With ``baselines``, :data:`BASELINES` come after them.

    A component takes the parameters that the default scenario gives it, as retriever or as ranker,
    and its defaults otherwise.

    Raises:
        ConfigError: Unknown name, a component that cannot rank the catalogue by itself, or one that
            needs vectors while no encoder is configured.
    """
    from recserve.config import ComponentConfig, nearest
    from recserve.plugin.protocols import Stage

    pipeline = resolved.scenarios[resolved.config.default_scenario]
    known = registry.names(Stage.RETRIEVER)
    if not names:
        parts = [*([pipeline.ranker] if pipeline.ranker else []), *pipeline.retrievers, pipeline.fallback]
        names = [PIPELINE, *(part.name for part in parts if part.name in known)]
    models = []
    for name in dict.fromkeys([*names, *(BASELINES if baselines else ())]):
        if name == PIPELINE:
            encoded = any(component.needs_vectors for component in pipeline.components())
            models.append(Model(name, None, encoded))
            continue
        if name not in known and name not in registry.names(Stage.RANKER):
            raise ConfigError(
                f"--model: unknown model {name!r}{nearest(name, [*known, PIPELINE])}", field="--model"
            )
        params = _configured(pipeline, name)
        component = registry.choose(Stage.RETRIEVER, ComponentConfig(use=name, params=params), "--model")
        if component.needs_vectors and resolved.encoder is None:
            raise ConfigError(
                f"--model: {name!r} needs text vectors, but 'encoder' is null in the configuration",
                field="--model",
            )
        models.append(Model(name, component, component.needs_vectors, optional=name not in names))
    return models


def _configured(pipeline: ResolvedPipeline, name: str) -> dict[str, object]:
    """The parameters that a scenario gives a component of this name, {} if it does not use it."""
    config = pipeline.config
    used = [*config.retrievers, *([config.ranker] if config.ranker else []), config.fallback]
    return next((dict(component.params) for component in used if component.use == name), {})


class Bench:
    """Evaluation bench: encodes, fits and measures models, and times each step.

    Args:
        resolved: The configuration.
        home: Home folder, for the cache of vectors.
        progress: Shown while it lasts.
        executor: Computes what splits into parts; None for this process.
        registry: Chooses the pipeline's parts from all of its components; None for those configured.
    """

    def __init__(
        self,
        resolved: ResolvedConfig,
        home: Path,
        progress: ProgressCallback,
        executor: Executor | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._resolved = resolved
        self._registry = registry
        self.chosen: AutomaticPipeline | None = None
        self._home = home
        self._progress = progress
        self._executor = executor

    def dataset(
        self, catalogue: Catalogue, events: pa.Table, texts: pa.Table | None, needs_vectors: bool
    ) -> Dataset:
        """Events over a catalogue, which is encoded with what users wrote if a model needs it."""
        from recserve.bundles.catalogue_vectors import encode_catalogue, read_written
        from recserve.data.dataset import Dataset

        data = Dataset.from_tables(catalogue, events, self._resolved.config.event_types)
        if not needs_vectors:
            return data
        encoded, _ = encode_catalogue(self._resolved, catalogue, self._home, self._progress, self._executor)
        data = data.with_catalogue(encoded)
        return read_written(self._resolved, data, texts, self._progress, self._executor)

    def parts(self, models: Sequence[Model], training: Dataset) -> list[Model]:
        """Parts of the chosen pipeline, and those of ``models`` that have something to learn from here."""
        from recserve.training.selection.unsuited import unsuited_parts

        unsuited = {key.rpartition(".")[2] for key in unsuited_parts(self._resolved, training)}
        found = {model.name: model for model in models if model.component and model.name not in unsuited}
        if self.chosen is not None and self._registry is not None:
            own = choose_models(self._registry, self.chosen.resolved, [])
            found = {model.name: model for model in own if model.component} | found
        return list(found.values())

    def measure_all(
        self, models: Sequence[Model], split: Split, ks: Sequence[int], attribute: str | None = None
    ) -> list[Report]:
        """Measure several models; an optional one that refuses the data is left out, saying why."""
        reports = []
        for model in models:
            try:
                reports.append(self.measure(model, split, ks, attribute))
            except DataError as error:
                if not model.optional:
                    raise
                err.print(f"{model.name} is left out: {error.message}", style="yellow")
        return reports

    def measure(self, model: Model, split: Split, ks: Sequence[int], attribute: str | None = None) -> Report:
        """Fit one model on the training part and evaluate it in detail."""
        from recserve.evaluation import evaluate, stored_bytes
        from recserve.training.selection.feature_checks import ranker_checks

        started = time.perf_counter()
        fitted, components = self._fit(model, split.training)
        seconds = time.perf_counter() - started
        report = evaluate(
            fitted,
            split,
            ks,
            name=model.name,
            fit_seconds=seconds,
            stored_bytes=stored_bytes(components),
            seed=self._resolved.config.train.seed,
            attribute=attribute,
            detailed=True,
            reads_content=model.component is None or model.needs_vectors,
            progress=self._progress,
            executor=self._executor,
        )
        resolved = self._resolved if self.chosen is None else self.chosen.resolved
        return replace(report, checks=(*report.checks, *ranker_checks(resolved, fitted, split.training)))

    def _fit(self, model: Model, training: Dataset) -> tuple[Recommender, list[object]]:
        """A fitted model, and the components that it is made of."""
        from recserve.evaluation import RetrieverRecommender
        from recserve.training.automatic import choose_pipeline
        from recserve.training.fitting import fit_all, fit_context, fit_pipeline, fit_single

        config = self._resolved.config
        context = fit_context(config, self._progress, self._executor)
        if model.component is not None:
            retriever, _ = fit_single(self._resolved, model.component, training, context)
            return RetrieverRecommender(retriever), [retriever]
        if self._registry is not None:
            self.chosen = choose_pipeline(self._registry, config, training, context)
            fitted = fit_all(self.chosen.resolved, training, context, self.chosen.windows)
        else:
            fitted = fit_pipeline(self._resolved, training, context)
        scenario = fitted.resolved.config.default_scenario
        return fitted.recommender(scenario), list(fitted.parts(scenario).values())
