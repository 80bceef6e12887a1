"""``recserve submit``: a command as a job of a Ray cluster."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import CONFIG_NAME, DEFAULT_HOME, ConfigOption, HomeOption, State
from recserve.cli.models.workers import INTERRUPTED, Interruptions
from recserve.errors import ConfigError

if TYPE_CHECKING:
    from recserve.config import Config

COMMANDS = ("train", "evaluate", "retrain", "tune")
"""Commands whose parts run on workers."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("submit", context_settings=settings)(submit_command)


def submit_command(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="Of the head's dashboard, such as http://10.0.0.1:8265.")],
    command: Annotated[str, typer.Argument(help=f"{', '.join(COMMANDS)}; its options come after it.")],
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Run a command on a Ray cluster that this machine is no node of.

    The home's configuration goes along; the store and the bundles that it names must be within the cluster's
    reach. Output and exit status are the command's, Ctrl-C stops it.
    """
    if command not in COMMANDS:
        raise ConfigError(f"{command} is nothing for a job; what runs on workers is {', '.join(COMMANDS)}")
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"{url} is not the URL of a dashboard, such as http://10.0.0.1:8265; on a node of the cluster "
            f"use `recserve {command} --address HOST:PORT`"
        )
    names = {argument.partition("=")[0] for argument in context.args}
    if "--address" in names:
        raise ConfigError("--address is given by the cluster itself; leave it out")
    for name in ("--home", "--config"):
        if name in names:
            raise ConfigError(f"{name} belongs before the URL: `recserve submit {name} ... {url} {command}`")
    if "--auto" in names:
        raise ConfigError(
            "--auto writes the configuration file, which a job has a copy of; run it on a node of the cluster"
        )
    state = State(home, config)
    if state.config_file is None:
        raise ConfigError(
            f"a job needs a configuration that names its store and bundles; there is no {CONFIG_NAME}"
        )
    _refuse_local(state.config)
    # Named by a string, as the library must not import the deployments, which import Ray.
    submission = importlib.import_module("recserve_deployments.jobs.submission")
    try:
        with Interruptions():
            status = submission.run_job(url, [command, *context.args], state.config_file, _say)
    except KeyboardInterrupt:
        status = INTERRUPTED
    raise typer.Exit(status)


def _refuse_local(config: Config) -> None:
    """Refuse a store or bundles that are files of this machine.

    Raises:
        ConfigError: Says what to set.
    """
    url, bundles = config.store.url, config.bundles
    # A variable is one of the cluster's nodes.
    if url is None or not url.startswith(("postgresql", "${")):
        raise ConfigError(
            "store.url: SQLite is a file of this machine; a job needs a PostgreSQL database, "
            "postgresql://user@host/database",
            field="store.url",
        )
    if bundles is None or not (bundles.startswith("${") or "://" in bundles) or bundles.startswith("file:"):
        raise ConfigError(
            "bundles: a folder of this machine; a job needs object storage, such as s3://bucket/recserve",
            field="bundles",
        )


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
