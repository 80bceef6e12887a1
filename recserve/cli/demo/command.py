"""``recserve demo``: recommendations from nothing, and an event that changes them, by the public commands.

What takes minutes to fit is trained beside the server, which begins with a bundle without it.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
from rich.table import Table

from recserve.cli.common import State, executable, out, server_control
from recserve.cli.demo.language_model import check_language_model, start_language_model
from recserve.cli.serve import follow_retraining, report_retraining
from recserve.data.entities import now_ms
from recserve.errors import ConfigError, RuntimeEnvironmentError

if TYPE_CHECKING:
    from recserve.plugin.registry import Registry
    from recserve.plugin.sources.folder import Demo

DOMAIN = "movielens"
FILMS = ("film", "movie")
HOME = Path(".recserve/demo")
SHOWN = 8
_STOP_SECONDS = 60.0
_SWAP_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demo")(demo_command)


def demo_command(
    domain: Annotated[
        str, typer.Option("--domain", help="A plugin that brings sample data; a wrong name lists them.")
    ] = DOMAIN,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            envvar="RECSERVE_HOME",
            help="Folder of all state.",
            show_default=f"{HOME}, {HOME}-DOMAIN for other domains",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="A user of the sample data; default: the domain's own.")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Default: 8000 or the next free one.")] = None,
    llm: Annotated[
        bool, typer.Option("--llm", help="With a small language model of this machine (recserve-llm[local]).")
    ] = False,
    waits: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait until the better model is served that is trained in the background.",
        ),
    ] = True,
) -> None:
    """Load the sample data of a domain, train, start the server, ask it, tell it something, and ask again.

    The server begins with what is trained within a minute; the rest is trained in the background, and swapped
    in if it is no worse. The server keeps running afterwards, and its last lines say how to stop it; Ctrl-C
    before that stops all.
    """
    started = time.perf_counter()
    if llm:
        check_language_model()
    home = home or (HOME if domain == DOMAIN else HOME.with_name(f"{HOME.name}-{domain}"))
    state = State(home, creates=True)
    try:
        _show_domain(state, domain, user, port, llm=llm, waits=waits, started=started)
    except KeyboardInterrupt:
        out.print()
        if (home / "server.json").exists():
            _recserve("stop", "--home", str(home))
        out.print("stopped; the same command goes on from here")
        raise typer.Exit(130) from None


def _show_domain(
    state: State, domain: str, user: str | None, port: int | None, *, llm: bool, waits: bool, started: float
) -> None:
    home = state.home
    dataset, demo = demonstrated(state.registry, domain)
    user = user or demo.user_id
    trained = (home / "bundles").is_dir() and state.store.current_bundle() is not None
    state.store.close()
    if not trained:
        _recserve("import", "--dataset", dataset, "--home", str(home))
        _recserve("train", "--quick", "--home", str(home))
    if (home / "server.json").exists():
        _recserve("stop", "--home", str(home))
    chosen = port or _free_port()
    serving = ["serve", "--detach", "--port", str(chosen), "--home", str(home)]
    if postponed := _postponed(home):
        serving.append("--retrain")
    if llm:
        nouns = FILMS if domain == DOMAIN else ("item",)
        serving += ["--config", str(start_language_model(home).configured(State(home), nouns))]
    since = now_ms()
    _recserve(*serving)
    out.print(f"page after {time.perf_counter() - started:.0f} s: http://127.0.0.1:{chosen}/", soft_wrap=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{chosen}", timeout=30) as client:
        _show_history(client, user)
        before = _recommend(client, user)
        _show(before, demo.shown, f"Recommended to user {user}")
        event = {"user_id": user, "item_id": before["items"][0]["item_id"], "event": demo.event}
        if demo.value is not None:
            event["value"] = demo.value
        answer = _post(client, "/v1/events", event)
        out.print(f"  -> {answer}\n")
        after = _recommend(client, user)
        _show(after, demo.shown, "Recommended after that event", before)
        out.print(
            f"[bold]Page[/]  http://127.0.0.1:{chosen}/\n"
            f"[bold]API[/]   http://127.0.0.1:{chosen}/docs\n"
            f"[bold]Stop[/]  {executable()} stop --home {shlex.quote(str(home))}\n"
            f"done in {time.perf_counter() - started:.0f} s",
            soft_wrap=True,
        )
        if postponed and waits:
            _await_better(client, home, since, ", ".join(postponed))
            out.print(f"after {time.perf_counter() - started:.0f} s; the server goes on")


def _postponed(home: Path) -> Sequence[str]:
    """What the last training of a home left to the next one."""
    with State(home).store as store:
        records = store.bundles()
    found: Sequence[str] = records[0].summary.get("postponed", ()) if records else ()
    return found


def _await_better(client: httpx.Client, home: Path, since: int, postponed: str) -> None:
    """Show how far the training in the background is, until what it made is served or it has failed."""
    out.print(
        f"\nThe page is there, with a bundle that lacks {postponed}. A better one is being trained in the "
        "background; Ctrl-C stops both.",
        soft_wrap=True,
    )
    server = server_control().read_state(home.resolve())
    done = None if server is None else follow_retraining(home, since, server.supervisor)
    if done is None:
        raise RuntimeEnvironmentError(f"the server ended; see {home / 'logs' / 'server.log'}")
    report_retraining(done)
    if done.state != "promoted":
        return
    swapped_by = time.monotonic() + _SWAP_SECONDS
    while client.get("/v1/health/ready").json().get("bundle") != done.bundle_id:
        if time.monotonic() > swapped_by:
            raise RuntimeEnvironmentError(
                f"bundle {done.bundle_id} is not served after {_SWAP_SECONDS:.0f} s; see {home / 'logs'}"
            )
        time.sleep(0.2)
    out.print(f"bundle [bold]{done.bundle_id}[/] is served now")


def demonstrated(registry: Registry, domain: str) -> tuple[str, Demo]:
    """Data set by which a domain is shown, and how.

    Args:
        registry: The installed plugins.
        domain: Name of a plugin.

    Returns:
        Name of the plugin's first data set that can be built without parameters and has a
        :class:`recserve.Demo`; and that.

    Raises:
        ConfigError: No installed plugin of this name has one.
    """
    from pydantic import ValidationError

    from recserve.config import nearest
    from recserve.data.catalogue import Catalogue
    from recserve.plugin.protocols import Stage
    from recserve.plugin.sources.folder import Demo

    found: dict[str, tuple[str, Demo]] = {}
    for plugin in registry.plugins:
        for component in plugin.components.get(Stage.DATASET, ()):
            try:
                params = component.params()
            except ValidationError:
                continue  # It needs parameters.
            demo = getattr(component.factory(params, Catalogue()), "demo", None)
            if isinstance(demo, Demo):
                found.setdefault(plugin.name, (component.name, demo))
    if domain not in found:
        raise ConfigError(
            f"--domain {domain!r}: no installed plugin of this name has sample data{nearest(domain, found)}"
        )
    return found[domain]


def _recserve(*arguments: str) -> None:
    """Run one command of our own, shown as a user would type it."""
    out.print(f"\n[bold]$ {executable()} {shlex.join(arguments)}[/]", soft_wrap=True)
    with subprocess.Popen([sys.executable, "-m", "recserve", *arguments]) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            # The terminal tells the command as well, which takes down what it has begun.
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    if status:
        raise RuntimeEnvironmentError(f"`recserve {shlex.join(arguments)}` failed; see above")


def _free_port() -> int:
    for port in range(8000, 8100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeEnvironmentError("no free port between 8000 and 8099; give one with --port")


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    import json

    shown = json.dumps(body, ensure_ascii=False)
    out.print(
        f"[bold]$ curl -s {client.base_url}{path} -H 'content-type: application/json' -d '{shown}'[/]",
        soft_wrap=True,
    )
    answer = client.post(path, json=body)
    if answer.status_code >= 300:
        raise RuntimeEnvironmentError(f"POST {path} was answered {answer.status_code}: {answer.text}")
    parsed: dict[str, Any] = answer.json()
    return parsed


def _recommend(client: httpx.Client, user: str) -> dict[str, Any]:
    return _post(client, "/v1/recommend", {"user_id": user, "n": SHOWN})


def _show_history(client: httpx.Client, user: str) -> None:
    events = client.get(f"/v1/users/{user}/history", params={"limit": 200}).json()["events"]
    rated = (event for event in events if event["item_id"] is not None)
    liked = sorted(rated, key=lambda event: (event["value"] or 0, event["timestamp"]), reverse=True)[:5]
    titles = []
    for event in liked:
        item = client.get(f"/v1/items/{event['item_id']}").json()
        said = event["event"] if event["value"] is None else f"{event['value']:g}"
        titles.append(f"{item['title']} ({said})")
    out.print(f"\nUser {user} has {len(events)} events, among them: {'; '.join(titles)}\n")


def _show(
    answer: dict[str, Any], shown: Sequence[str], title: str, before: dict[str, Any] | None = None
) -> None:
    table = Table("#", "title", *shown, "score", "sources", "why", title=title)
    earlier = {} if before is None else {item["item_id"]: item["rank"] for item in before["items"]}
    for item in answer["items"]:
        moved = ""
        if before is not None:
            rank = earlier.get(item["item_id"])
            moved = " [green]new[/]" if rank is None else "" if rank == item["rank"] else f" (was {rank})"
        attributes = item["attributes"]
        table.add_row(
            f"{item['rank']}{moved}",
            str(attributes.get("title") or attributes.get("name") or item["item_id"]),
            *(_cell(attributes.get(name)) for name in shown),
            f"{item['score']:.2f}",
            ", ".join(item["sources"]),
            item["explanation"],
        )
    out.print(table)
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in answer["timings"].items())
    lost = f"; degraded: {', '.join(answer['degraded'])}" if answer["degraded"] else ""
    out.print(f"bundle {answer['bundle']}; ms: {stages}{lost}\n", soft_wrap=True)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
