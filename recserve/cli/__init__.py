"""The command line: ``recserve --help`` is the map; one module a command group."""

from __future__ import annotations

import logging
import os
import sys

import typer

import recserve
from recserve.cli import keys, serve
from recserve.cli.cluster import check, submit
from recserve.cli.common import err, executable, out
from recserve.cli.data import import_command, store
from recserve.cli.demo import command as demo
from recserve.cli.models import distill, evaluate, inspect, promote, retrain, train, tune
from recserve.cli.new import plugin
from recserve.cli.online import experiment, recommend, report, stream
from recserve.data.system.cpus import sleep_when_idle
from recserve.errors import RecserveError

app = typer.Typer(
    name="recserve",
    help="A plugin-based recommendation server on Ray Serve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"recserve {recserve.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Show log messages and full errors."),
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(message)s")
    if verbose:
        os.environ["RECSERVE_VERBOSE"] = "1"


for group in (
    import_command,
    train,
    distill,
    tune,
    evaluate,
    promote,
    retrain,
    submit,
    experiment,
    report,
    serve,
    check,
    recommend,
    inspect,
    keys,
    plugin,
    store,
    stream,
    demo,
):
    group.register(app)


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit status 2."""
    # Read by libraries when they are loaded, which no command has done yet.
    sleep_when_idle()
    try:
        app()
    except RecserveError as error:
        if os.environ.get("RECSERVE_VERBOSE"):
            raise
        message = error.message
        if "`recserve " in message and (typed := executable()) != "recserve":
            message += f" (type {typed} for recserve)"
        err.print(f"[bold red]error:[/] {_escape(message)}", soft_wrap=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader (such as `head`) went away. What is still buffered has nowhere to go, and the
        # interpreter must not fail on flushing it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
