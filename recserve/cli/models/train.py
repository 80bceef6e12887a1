"""``recserve train``: from the store to a current bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import (
    CONFIG_NAME,
    DEFAULT_HOME,
    ConfigOption,
    HomeOption,
    State,
    actor,
    out,
    progress_display,
    warn,
)
from recserve.cli.data.accounting import show_account, training_account
from recserve.cli.data.lake import TrainingSource
from recserve.cli.models.workers import (
    AddressOption,
    CheckpointsOption,
    CpusOption,
    GpusOption,
    Workers,
    WorkersOption,
)
from recserve.errors import ConfigError

if TYPE_CHECKING:
    from recserve.plugin.resolved import ResolvedConfig
    from recserve.training.automatic import AutomaticPipeline
    from recserve.training.selection.summary import SummaryRow

_BEFORE = ".before-auto"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("train")(train_command)


def train_command(
    evaluated: Annotated[
        bool, typer.Option("--evaluate/--no-evaluate", help="Measure on the newest window first.")
    ] = True,
    promoted: Annotated[
        bool, typer.Option("--promote/--no-promote", help="Make it current, whatever it is worth.")
    ] = True,
    automatic: Annotated[
        bool | None,
        typer.Option(
            "--auto/--no-auto",
            help="Choose retrievers, ranker and weights by what they are worth on held-out events, and write "
            "them to the configuration.",
            show_default="--auto for the first bundle without a configuration file",
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Leave what takes minutes to fit to the next `recserve retrain`, for a first bundle soon.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --auto: replace the scenarios of a configuration file.")
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of train.seed.")] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="PATH_OR_URL",
            help="Learn from a lake instead of the store: Parquet files in a folder, or s3://bucket/folder.",
        ),
    ] = None,
    items: Annotated[
        str | None,
        typer.Option(
            "--items", metavar="PATH_OR_URL", help="With --events: items instead of the store's catalogue."
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DAY", help="With --events: first day that counts (UTC).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DAY", help="With --events: the day after the last one.")
    ] = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    cpus: CpusOption = 1.0,
    gpus: GpusOption = 0.0,
    checkpoints: CheckpointsOption = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Train every component on the store's data, or a lake's, and make the result current.

    With --no-promote that is left to `recserve promote`, which compares it with the current bundle.
    The same data, configuration and seed give the same bundle, byte for byte; on workers up to what sums of
    floats do.
    """
    state = State(home, config)
    written = None
    if automatic is None:
        # A server that runs with the defaults must find them in the next bundle.
        automatic = state.config_file is None and not state.store.bundle_history() and not quick
    if automatic and quick:
        raise ConfigError("--auto tries what takes minutes, which --quick leaves out; give one of them")
    if automatic:
        written = writable_config(state, overwrite=overwrite)
    resolved = with_seed(state, seed)
    from recserve.evaluation import trade_off_view
    from recserve.store import Grounds
    from recserve.training.recording import record_training
    from recserve.training.trainer import Trainer

    started = time.perf_counter()
    asked = Workers(address, workers, cpus, gpus, checkpoints)
    with asked.executor(state) as executor, progress_display() as progress:
        trainer = Trainer(
            state.home,
            resolved,
            state.registry,
            state.repository,
            progress,
            automatic=automatic,
            executor=executor,
            quick=quick,
        )
        deletions = state.store.pulse().deletions
        tables = TrainingSource(events, items, since, until).tables(state, progress)
        result = trainer.run(tables, evaluated=evaluated)
        progress.finish()
    bundle = result.bundle
    record_training(state.home, state.config, state.store, tables, result, deletions)
    if result.chosen is not None and written is not None:
        # Whoever loads the bundle needs the configuration that it was trained with.
        write_config(written, result.chosen)
    if promoted:
        state.store.set_current(bundle.id, Grounds(actor(), "train"))
    data = bundle.manifest.data
    state_of = "current" if promoted else "trained, but not current"
    out.print(
        f"bundle [bold]{bundle.id}[/] is {state_of}: {data.events:,} events of {data.users:,} users on "
        f"{data.items:,} items, {time.perf_counter() - started:.0f} s",
        soft_wrap=True,
    )
    show_account("training data", "count", training_account(result.coverage, "lake" if events else "store"))
    for line in str(result.coverage).splitlines():
        warn(line)
    for name, rows in result.summaries.items():
        out.print(summary_table(name, rows))
    for name, table in result.choices.items():
        out.print(trade_off_view(table, f"trade-offs between parts of {name}"))
    if result.report is not None:
        out.print(_metrics_table(result.metrics, result.report.split))
    if postponed := bundle.manifest.postponed:
        out.print(
            f"trained without {', '.join(postponed)}; `recserve retrain` trains all of it, and "
            "`recserve serve --retrain` does so in the background",
            soft_wrap=True,
        )
    state.store.close()


def with_seed(state: State, seed: int | None) -> ResolvedConfig:
    """The configuration with another seed of training; None leaves it as it is."""
    if seed is None:
        return state.resolved
    train = state.config.train.model_copy(update={"seed": seed})
    return state.registry.resolve(state.config.model_copy(update={"train": train}))


def summary_table(scenario: str, rows: Sequence[SummaryRow]) -> Table:
    """What serves a scenario, and why."""
    table = Table(
        "part",
        "nDCG@10 (95%)",
        "seconds",
        "outcome",
        title=f"parts of {escape(scenario)}, measured on events held out of the training data",
    )
    table.columns[2].justify = "right"
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        table.add_row(escape(row.part), row.figure, seconds, escape(row.outcome))
    return table


def _metrics_table(metrics: Mapping[str, Any], split: str) -> Table:
    """Means and intervals; metrics that are one figure by definition here share a row."""
    from recserve.evaluation.splits import TEMPORAL
    from recserve.training.selection.validation import QUERIES_PER_USER

    by_time = split == TEMPORAL
    caption = (
        f"of models that stopped learning a window earlier, by at most {QUERIES_PER_USER} queries a user"
        if by_time
        else "times say nothing of the order of events of different users"
    )
    names: dict[tuple[str, str], list[str]] = {}
    for name, value in metrics.items():
        # A figure that does not exist, such as the diversity of one-item lists, is null.
        mean = "" if value["mean"] is None else f"{value['mean']:.4f}"
        bounds = value["ci95"]
        interval = "" if bounds is None else f"{bounds[0]:.4f} - {bounds[1]:.4f}"
        names.setdefault((mean, interval), []).append(name)
    table = Table(
        "metric",
        "mean",
        "95% interval",
        title="on the newest window, frozen before it" if by_time else "on events held out of each user",
        caption=f"{caption}; `recserve evaluate` spares nothing",
    )
    for (mean, interval), equal in names.items():
        table.add_row(" = ".join(equal), mean, interval)
    return table


def writable_config(state: State, *, overwrite: bool) -> Path:
    """Where a chosen pipeline is to be written.

    Raises:
        ConfigError: There is a file already, and nobody asked to replace its scenarios.
    """
    path = state.config_file
    if path is None:
        return state.home / CONFIG_NAME
    if not overwrite:
        raise ConfigError(
            f"--auto would replace the scenarios of {path}; add --overwrite (the file is kept as "
            f"{path.name}{_BEFORE}), or leave --auto out to train what it says"
        )
    return path


def write_config(path: Path, chosen: AutomaticPipeline) -> None:
    """Write a chosen pipeline, with whatever else the file held; an earlier file is kept beside it."""
    written: dict[str, Any] = {}
    if path.exists():
        written = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        path.replace(path.with_name(path.name + _BEFORE))
    path.write_text(chosen.as_yaml(written), encoding="utf-8")
    out.print(f"wrote {path}; a running server reads it when it is started again", soft_wrap=True)
