"""``recserve tune``: search the parameters of a component or of a pipeline."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, err, out, progress_display
from recserve.cli.models.workers import INTERRUPTED, Interruptions

if TYPE_CHECKING:
    from recserve.training.tuning import Place, Result, TrialRecord

_SHOWN = 12
_VALUES = 9


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("tune")(tune_command)


def tune_command(
    target: Annotated[
        str, typer.Argument(help="A component that the configuration uses, such as mf, or 'pipeline'.")
    ],
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, max=10_000, help="In all, with resumed ones; default: tune.trials."),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0.01, help="Time for trials; running ones are then cut off."),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", help="Search only this parameter; repeatable.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", help="Whose pipeline; default: the default scenario.")
    ] = None,
    cpus: Annotated[
        float | None, typer.Option("--cpus", min=0.01, help="Of a trial; default: tune.cpus.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option("--gpus", min=0, help="Of a trial, such as 0.5; default: tune.gpus.")
    ] = None,
    max_concurrent: Annotated[
        int | None, typer.Option("--max-concurrent", min=1, help="Trials at a time; default: what fits.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="The study's folder: a path, or a URI as s3://bucket/prefix; default: HOME/tuning/TARGET.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in that folder.")] = False,
    confirm: Annotated[
        bool,
        typer.Option("--confirm/--no-confirm", help="Compare the best on the test window as well."),
    ] = True,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="host:port of a Ray cluster, or 'local'; default: the running server's cluster, else local.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of train.seed.")] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Search better parameters with Ray Tune, scored by nDCG@10 on a window before the test window.

    The first trial has the configured values. Optuna proposes the others within the ranges that
    the components declare; fits that fall behind in their own validation are ended early.

    Beside a running server of this home, trials run on its cluster, on what serving leaves.

    Writes best.yaml (the configuration with the best values), report.html, trials.csv and trials.json.
    """
    from recserve.training.tuning import BEST, REPORT, Needs, Study, StudyFolder, choose_target

    state = State(home, config)
    folder = StudyFolder(storage or state.home / "tuning" / target)
    begun = folder.read_study() if resume else None
    if begun is not None and begun.target == target:
        # Whoever goes on need not repeat what the study is about.
        param, scenario = param or begun.parameters, scenario or begun.scenario
        seed = begun.seed if seed is None else seed
    train = state.config.train if seed is None else state.config.train.model_copy(update={"seed": seed})
    resolved = state.registry.resolve(state.config.model_copy(update={"train": train}))
    chosen = choose_target(state.registry, resolved, target, scenario=scenario, only=param or [])
    defaults = state.config.tune
    needs = Needs(
        cpus=cpus or defaults.cpus,
        gpus=defaults.gpus if gpus is None else gpus,
        max_concurrent=max_concurrent or defaults.max_concurrent,
    )
    study = Study(folder, chosen, resolved, state.home)
    with state.store as store:
        tables = store.snapshot()
    with progress_display() as progress:
        study.prepare(tables, trials=trials, resume=resume, progress=progress)
        progress.finish()
    try:
        with Interruptions() as interruptions, _TrialDisplay(study.trials) as display:

            def placed(place: Place) -> None:
                # Ray puts its own handler for SIGTERM in place.
                interruptions.catch()
                display.placed(place)

            result = study.run(
                needs,
                address=address,
                seconds=None if minutes is None else 60 * minutes,
                confirm=confirm,
                placed=placed,
                observer=display.update,
            )
    except KeyboardInterrupt:
        options = {"--storage": storage, "--config": config, "--home": home}
        given = "".join(
            f" {name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None
        )
        err.print(f"interrupted; go on with: recserve tune {target} --resume{given}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    study.write(result)
    _summary(result)
    out.print(f"configuration: {folder.shown(BEST)}", soft_wrap=True)
    out.print(f"report: {folder.shown(REPORT)}", soft_wrap=True)


def _summary(result: Result) -> None:
    from recserve.training.tuning.results import verdict

    trial = f"trial {result.challenger.number}"
    table = Table("window", "configured", trial, "difference", "95% interval", title="nDCG@10")
    for name, comparison in (("validation", result.validation), ("test", result.test)):
        if comparison is not None:
            difference = comparison.difference
            bounds = f"{difference.low:+.4f} to {difference.high:+.4f}"
            table.add_row(
                name, f"{comparison.default:.4f}", f"{comparison.best:.4f}", f"{difference.mean:+.4f}", bounds
            )
    out.print(table)
    out.print(verdict(result), soft_wrap=True)
    repeats = sum(record.repeats for record in result.trials)
    if repeats:
        out.print(f"{repeats} times a trial was begun anew: its process or its host was lost")
    missing = result.study.trials - sum(record.state != "running" for record in result.trials)
    if missing > 0:
        out.print(f"time was up with {missing} trials to go; --resume goes on")


class _TrialDisplay:
    """Shows trials: a table that changes on a terminal, a line for each end elsewhere.

    Args:
        wanted: Trials in all.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._records: dict[int, TrialRecord] = {}
        self._live = Live(console=err, auto_refresh=True, refresh_per_second=4) if err.is_terminal else None

    def __enter__(self) -> _TrialDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._live is not None:
            self._live.stop()

    def placed(self, place: Place) -> None:
        """Say where trials run."""
        trials = "1 trial" if place.concurrent == 1 else f"{place.concurrent} trials"
        err.print(f"{self._wanted} trials on {place.description}, {trials} at a time")

    def update(self, record: TrialRecord) -> None:
        """Show one trial's progress."""
        before = self._records.get(record.number)
        self._records[record.number] = record
        if self._live is not None:
            self._live.update(self._table())
        elif before is not None and record.repeats > before.repeats:
            err.print(f"trial {record.number} was lost with its process or its host, and begins anew")
        elif record.state != "running" and (before is None or before.state != record.state):
            ended = sum(known.state != "running" for known in self._records.values())
            err.print(
                f"{ended} of {self._wanted}: trial {record.number} {record.state}{_figure(record)}: "
                f"{_listed(record.values)}",
                markup=False,
                soft_wrap=True,
            )

    def _table(self) -> Table:
        done = sum(record.state != "running" for record in self._records.values())
        scored = [record for record in self._records.values() if record.score is not None]
        best = max(scored, key=lambda record: record.score or 0.0, default=None)
        title = f"{done} of {self._wanted} trials" + ("" if best is None else f", best {best.score:.4f}")
        table = Table("trial", "state", "nDCG@10", "own validation", "values", title=title)
        for number in sorted(self._records)[-_SHOWN:]:
            record = self._records[number]
            own = (
                f"{record.validations[-1][1]:.4f} at {record.validations[-1][0]}"
                if record.validations
                else ""
            )
            style = "bold" if best is not None and number == best.number else None
            score = "" if record.score is None else f"{record.score:.4f}"
            table.add_row(
                str(number), record.state.value, score, own, escape(_listed(record.values)), style=style
            )
        return table


def _figure(record: TrialRecord) -> str:
    if record.error is not None:
        return f" ({record.error})"
    if record.score is not None:
        return f" {record.score:.4f} after {(record.fit_seconds or 0) + (record.evaluate_seconds or 0):.0f} s"
    return f" at its validation {record.validations[-1][0]}" if record.validations else ""


def _listed(values: Mapping[str, object]) -> str:
    """The first parameter values; files have them all."""
    shown = ", ".join(f"{name} {_short(value)}" for name, value in list(values.items())[:_VALUES])
    return shown if len(values) <= _VALUES else f"{shown} and {len(values) - _VALUES} more"


def _short(value: object) -> str:
    return "auto" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
