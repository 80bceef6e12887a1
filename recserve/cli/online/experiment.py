"""``recserve experiment``: compare alternatives on live requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, actor, out
from recserve.cli.online.experiment_report import report_command
from recserve.errors import DataError

if TYPE_CHECKING:
    from recserve.experiments.administration import ExperimentAdmin
    from recserve.experiments.lifecycle import Experiment
    from recserve.store import Store

Name = Annotated[str, typer.Argument(help="Its name, from `recserve experiment list`.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Experiments: compare alternatives on live requests.", no_args_is_help=True)
    group.command("create")(create_command)
    group.command("start")(start_command)
    group.command("stop")(stop_command)
    group.command("list")(list_command)
    group.command("show")(show_command)
    group.command("report")(report_command)
    app.add_typer(group, name="experiment")


def create_command(
    definition: Annotated[Path, typer.Argument(help="YAML file that says what to compare, and for whom.")],
    start: Annotated[bool, typer.Option("--start", help="Start it as well.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Create an experiment. It does not run before it is started."""
    from recserve.experiments.definition import parse_definition
    from recserve.serving.scenario import chosen_rules

    state = State(home, config)
    wanted = parse_definition(_read(definition))
    resolved = state.resolved

    def check_rules(scenario: str, rules: Mapping[str, Any]) -> object:
        standing = resolved.scenarios[scenario].rerankers
        return chosen_rules(rules, standing, resolved.rerankers, resolved.counts_impressions)

    with state.store as store:
        created = _admin(store).create(wanted, state.config.scenarios, check_rules)
        name = created.definition.name
        if not start:
            out.print(f"experiment {name} is created; start it with: recserve experiment start {name}")
            return
        _say_started(_admin(store).start(name))


def start_command(
    name: Name,
    share: Annotated[
        float | None,
        typer.Option(
            "--share", min=0, max=1, help="Share of users and sessions to take in; default: the experiment's."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Start an experiment, or have one that runs take in a larger share.

    Running servers follow within about a second.
    """
    with State(home, config).store as store:
        _say_started(_admin(store).start(name, share))


def stop_command(
    name: Name,
    arm: Annotated[str | None, typer.Option("--arm", help="Only this arm.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit log.")] = "",
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Stop an experiment for good, or one of its arms. Running servers follow within about a second."""
    with State(home, config).store as store:
        stopped = _admin(store).stop(name, reason, arm)
    whole = stopped.status.state == "stopped"
    out.print(f"experiment {name} is stopped" if whole else f"arm {arm} of experiment {name} is stopped")


def list_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """List all experiments, oldest first."""
    with State(home, config).store as store:
        experiments = _admin(store).experiments()
    table = Table("name", "scenario", "layer", "kind", "arms", "share", "state", "started", "stopped")
    table.columns[0].no_wrap = True
    for experiment in experiments:
        definition, status = experiment.definition, experiment.status
        stopped = set(status.stopped_arms)
        arms = [f"{arm.name} (stopped)" if arm.name in stopped else arm.name for arm in definition.arms]
        table.add_row(
            definition.name,
            escape(definition.scenario),
            escape(definition.space),
            definition.kind,
            ", ".join(arms),
            f"{status.share or definition.share:g}",
            status.state,
            _moment(status.started),
            _moment(status.stopped),
        )
    out.print(table)


def show_command(name: Name, home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """Show an experiment's definition and what has become of it, as JSON."""
    from recserve.experiments.lifecycle import plain_of

    with State(home, config).store as store:
        plain = plain_of(_admin(store).experiment(name))
    out.print(json.dumps(plain, indent=2, ensure_ascii=False), markup=False, soft_wrap=True)


def _admin(store: Store) -> ExperimentAdmin:
    from recserve.experiments.administration import ExperimentAdmin

    return ExperimentAdmin(store, actor())


def _say_started(started: Experiment) -> None:
    definition = started.definition
    out.print(
        f"experiment {definition.name} runs over {started.status.share:.2%} of layer {definition.space}",
        soft_wrap=True,
    )


def _read(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        DataError: It cannot be read.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _moment(milliseconds: int | None) -> str:
    return (
        "" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}Z"
    )
