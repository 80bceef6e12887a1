"""``recserve demo``: recommendations from nothing, and an event that changes them, by the public commands."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from recserve.cli.common import HomeOption, State, executable, out
from recserve.cli.demo.language_model import check_language_model, start_language_model
from recserve.errors import RuntimeEnvironmentError

DATASET = "movielens-small"
SHOWN = 8


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demo")(demo_command)


def demo_command(
    home: HomeOption = Path(".recserve/demo"),
    user: Annotated[str, typer.Option("--user", help="A user of the sample data.")] = "73",
    port: Annotated[int | None, typer.Option("--port", help="Default: 8000 or the next free one.")] = None,
    llm: Annotated[
        bool, typer.Option("--llm", help="With a small language model of this machine (recserve-llm[local]).")
    ] = False,
) -> None:
    """Load the sample data, train, start the server, ask it, tell it something, and ask again.

    The server keeps running afterwards; the last lines say how to stop it.
    """
    started = time.perf_counter()
    if llm:
        check_language_model()
    state = State(home, creates=True)
    trained = (home / "bundles").is_dir() and state.store.current_bundle() is not None
    state.store.close()
    if not trained:
        _recserve("import", "--dataset", DATASET, "--home", str(home))
        _recserve("train", "--home", str(home))
    if (home / "server.json").exists():
        _recserve("stop", "--home", str(home))
    chosen = port or _free_port()
    serving = ["serve", "--detach", "--port", str(chosen), "--home", str(home)]
    if llm:
        serving += ["--config", str(start_language_model(home).configured(State(home)))]
    _recserve(*serving)

    with httpx.Client(base_url=f"http://127.0.0.1:{chosen}", timeout=30) as client:
        _show_history(client, user)
        before = _recommend(client, user)
        _show(before, f"Recommended to user {user}")
        told = before["items"][0]
        event = {"user_id": user, "item_id": told["item_id"], "event": "rating", "value": 5}
        answer = _post(client, "/v1/events", event)
        out.print(f"  -> {answer}\n")
        after = _recommend(client, user)
        _show(after, "Recommended after that event", before)
    out.print(
        f"[bold]Page[/]  http://127.0.0.1:{chosen}/\n"
        f"[bold]API[/]   http://127.0.0.1:{chosen}/docs\n"
        f"[bold]Stop[/]  {executable()} stop --home {shlex.quote(str(home))}\n"
        f"done in {time.perf_counter() - started:.0f} s",
        soft_wrap=True,
    )


def _recserve(*arguments: str) -> None:
    """Run one command of our own, shown as a user would type it."""
    out.print(f"\n[bold]$ {executable()} {shlex.join(arguments)}[/]", soft_wrap=True)
    done = subprocess.run([sys.executable, "-m", "recserve", *arguments], check=False)
    if done.returncode:
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
        titles.append(f"{item['title']} ({event['value']:g})")
    out.print(f"\nUser {user} has {len(events)} events, among them: {'; '.join(titles)}\n")


def _show(answer: dict[str, Any], title: str, before: dict[str, Any] | None = None) -> None:
    table = Table("#", "title", "genres", "score", "sources", "why", title=title)
    earlier = {} if before is None else {item["item_id"]: item["rank"] for item in before["items"]}
    for item in answer["items"]:
        moved = ""
        if before is not None:
            rank = earlier.get(item["item_id"])
            moved = " [green]new[/]" if rank is None else "" if rank == item["rank"] else f" (was {rank})"
        attributes = item["attributes"]
        table.add_row(
            f"{item['rank']}{moved}",
            f"{attributes.get('title', item['item_id'])} ({attributes.get('year', '?')})",
            ", ".join(attributes.get("genres", [])),
            f"{item['score']:.2f}",
            ", ".join(item["sources"]),
            item["explanation"],
        )
    out.print(table)
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in answer["timings"].items())
    lost = f"; degraded: {', '.join(answer['degraded'])}" if answer["degraded"] else ""
    out.print(f"bundle {answer['bundle']}; ms: {stages}{lost}\n", soft_wrap=True)
