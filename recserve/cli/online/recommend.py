"""``recserve recommend`` and ``recserve similar``: ask the current bundle without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, err, out
from recserve.errors import InvalidRequestError, RecserveError
from recserve.serving.requests.request import Recommendation, Request

if TYPE_CHECKING:
    from recserve.serving.pipeline import Pipeline

CountOption = Annotated[int, typer.Option("--n", "-n", min=1, max=1000, help="How many.")]
ScenarioOption = Annotated[str | None, typer.Option("--scenario", help="A configured scenario.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("recommend")(recommend_command)
    app.command("similar")(similar_command)


def recommend_command(
    user: Annotated[
        str | None, typer.Argument(help="User id; without one, or with an unknown one, the rest decides.")
    ] = None,
    n: CountOption = 10,
    query: Annotated[str | None, typer.Option("--query", "-q", help="Free text.")] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="NAME=VALUE (JSON or text); repeatable.")
    ] = None,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Recommend items to a user, for a text, or what is popular."""
    request = Request(user_id=user, query=query, n=n, scenario=scenario, filter=_parse_filters(filters or []))
    _answer(State(home, config), request, as_json)


def similar_command(
    item: Annotated[str, typer.Argument(help="Item id.")],
    n: CountOption = 10,
    scenario: ScenarioOption = None,
    as_json: JsonOption = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Find items like an item."""
    _answer(State(home, config), Request(item_id=item, n=n, scenario=scenario), as_json)


def _parse_filters(assignments: list[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator:
            raise InvalidRequestError(f"--filter {assignment!r} must look like NAME=VALUE")
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed


def _answer(state: State, request: Request, as_json: bool) -> None:
    from recserve.serving.local import local_pipeline

    pipeline = local_pipeline(state.resolved, state.current_bundle(), state.store)
    answer = asyncio.run(_ask(pipeline, request))
    state.store.close()
    if as_json:
        out.print_json(json.dumps(asdict(answer), ensure_ascii=False))
        return
    if answer.degraded:
        err.print(f"degraded: {', '.join(answer.degraded)}", style="yellow")
    out.print(_table(answer))


async def _ask(pipeline: Pipeline, request: Request) -> Recommendation:
    await pipeline.items.encode_pending()
    (answer,) = await pipeline.recommend([request])
    if isinstance(answer, RecserveError):
        raise answer
    return answer


def _table(answer: Recommendation) -> Table:
    table = Table("#", "item", "title", "score", "sources", "why", caption=f"bundle {answer.bundle}")
    for item in answer.items:
        title = item.attributes.get("title") or item.attributes.get("name") or ""
        table.add_row(
            str(item.rank),
            item.item_id,
            str(title),
            f"{item.score:.3f}",
            ", ".join(item.sources),
            item.explanation or "",
        )
    return table
