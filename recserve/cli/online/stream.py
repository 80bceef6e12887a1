"""Streams on the command line: reading topics into the store, and passing changes on."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out
from recserve.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from recserve.config import SinkConfig
    from recserve.store import Store
    from recserve.streams.counts import StreamCounts
    from recserve.streams.sink import Target
    from recserve.streams.waiting import Stop

STORE_SECONDS = 30.0
"""A call of the store is given up after this, and made again."""
PATIENCE_SECONDS = 600.0

stream_app = typer.Typer(
    help="Read topics into the store, and pass exposures and deletions on.", no_args_is_help=True
)

UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="Stop once everything is done that was there. For cron.")
]
Patience = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="SECONDS",
        help="Fail when nothing has worked for so long; default: 600 with --until-end, else never.",
    ),
]
MetricsAt = Annotated[
    str | None,
    typer.Option("--metrics", metavar="HOST:PORT", help="Serve /metrics for Prometheus at this address."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(stream_app, name="stream")


@stream_app.command("source")
def source_command(
    until_end: UntilEnd = False,
    patience: Patience = None,
    metrics: MetricsAt = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Read the topics of `streams.source` into the store, each event once. Ends on SIGTERM.

    Needs `pip install 'recserve[kafka]'`. Any number of processes may share the work of a group.
    """
    from recserve.streams.counts import StreamCounts
    from recserve.streams.source import KafkaSource

    state = State(home, config)
    counts = StreamCounts("source")
    with _store(state) as store:
        source = KafkaSource(
            store, state.config, counts, until_end=until_end, patience=_patience(patience, until_end)
        )
        _run(state, source.run, counts, metrics)


@stream_app.command("sink")
def sink_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A sink of `streams.sinks`.")],
    until_end: UntilEnd = False,
    patience: Patience = None,
    metrics: MetricsAt = None,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Pass changes of the store on to topics or a webhook, each at least once. Ends on SIGTERM.

    One process sends; others of the same sink wait to take over.
    """
    from recserve.config import nearest
    from recserve.streams.counts import StreamCounts
    from recserve.streams.sink import Sink

    state = State(home, config)
    sinks = state.config.streams.sinks
    if name not in sinks:
        raise NotFoundError(f"there is no sink {name!r} in streams.sinks{nearest(name, sinks)}")
    counts = StreamCounts(name)
    with _store(state) as store:

        async def send(stop: Stop) -> None:
            sink = Sink(
                store,
                name,
                sinks[name],
                _target(state, name, sinks[name]),
                counts,
                until_end=until_end,
                patience=_patience(patience, until_end),
            )
            await sink.run(stop)

        _run(state, send, counts, metrics)


@stream_app.command("status")
def status_command(home: HomeOption = DEFAULT_HOME, config: ConfigOption = None) -> None:
    """Show how far each sink is."""
    state = State(home, config)
    sinks = state.config.streams.sinks
    if not sinks:
        raise ConfigError("there are no streams.sinks in the configuration", field="streams.sinks")
    from recserve.streams.outgoing import Follower

    table = Table("sink", "follows", "position", "behind")
    with _store(state) as store:
        for name, sink in sinks.items():
            position = store.stream_position(name)
            for kind, behind in Follower(store, sink.kinds, sink.batch).behind(position).items():
                at = dict(position).get(kind)  # type: ignore[call-overload]
                table.add_row(name, kind, "new" if at is None else f"{at:,}", f"{behind:,}")
    out.print(table)


def _patience(given: float | None, until_end: bool) -> float | None:
    return PATIENCE_SECONDS if given is None and until_end else given


def _store(state: State) -> Store:
    from recserve.store import open_store

    return open_store(state.config.store.url, state.home, STORE_SECONDS)


def _target(state: State, name: str, sink: SinkConfig) -> Target:
    from recserve.streams.targets.kafka import KafkaTarget
    from recserve.streams.targets.webhook import WebhookTarget

    if sink.webhook is not None:
        return WebhookTarget(name, sink.webhook)
    return KafkaTarget(state.config.streams.kafka, sink.topics or {})


def _run(
    state: State, work: Callable[[Stop], Awaitable[None]], counts: StreamCounts, metrics: str | None
) -> None:
    """Run until it ends, or until SIGTERM or SIGINT, and say what was done."""
    from recserve.auth.masking import mask_keys, mask_keys_in_logs
    from recserve.streams.counts import metrics_page
    from recserve.streams.waiting import Stop
    from recserve.telemetry.logs import chosen_format, write_json

    mask_keys_in_logs()
    if chosen_format(state.config.server.log_format) == "json":
        write_json(logging.getLogger().handlers, mask_keys, stream=counts.stream)
    logging.getLogger("recserve.streams").setLevel(logging.INFO)

    async def main() -> None:
        stop = Stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.ask)
        await work(stop)

    try:
        with metrics_page(metrics, counts):
            asyncio.run(main())
    finally:
        counts.say(now=True)
    out.print(f"{counts.stream}: {counts.line()}", markup=False, soft_wrap=True)
