"""The domain plugins: the commands of their READMEs import, train and serve made-up data."""

from __future__ import annotations

import asyncio
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from recserve import Event, Item
from recserve.cli import app
from recserve.cli.common import State
from recserve.serving.local import local_pipeline
from recserve.serving.requests.request import Recommendation, Request
from tools.walkthrough import commands

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("pip install ", "recserve demo ", "recserve serve ")
"""Commands that install, or start a server of their own."""
COSTLY = ("mf", "content")
"""Retrievers that these tests do without: others show as well that the parts fit together."""


def slim(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without its text encoder, rankers and what takes seconds to fit."""
    scenarios = {}
    for name, scenario in config["scenarios"].items():
        cheap = [one for one in scenario["retrievers"] if one["use"] not in COSTLY]
        if cheap:
            scenarios[name] = {**scenario, "retrievers": cheap, "ranker": None}
    return {**config, "encoder": None, "scenarios": scenarios, "train": {"threads": 1}}


def run(command: str) -> None:
    """Run a command of a README in this process, in the folder that is the current one."""
    program, *arguments = shlex.split(command)
    if program == "python":
        module, *arguments = arguments[1:]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", [module, *arguments])
            patched.delitem(sys.modules, module, raising=False)
            runpy.run_module(module, run_name="__main__")
        return
    assert program == "recserve", command
    home = Path(arguments[arguments.index("--home") + 1])
    if arguments[0] == "train":
        path = home / "recserve.yaml"
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(slim(config), allow_unicode=True), encoding="utf-8")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def served(home: Path, *requests: Request) -> list[Recommendation]:
    """Answers of the home's current bundle."""
    state = State(home)
    with state.store:
        pipeline = local_pipeline(state.resolved, state.current_bundle(), state.store)
        answers = asyncio.run(pipeline.recommend(requests))
    given = [answer for answer in answers if isinstance(answer, Recommendation)]
    # Without a text encoder a search goes by words alone, and says so.
    assert [answer.degraded for answer in given] == [
        () if request.query is None else ("encoding",) for request in requests
    ]
    return given


@pytest.fixture
def home(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home made by the commands of a domain's README."""
    monkeypatch.chdir(tmp_path)
    readme = ROOT / "plugins" / f"recserve-{request.param}" / "README.md"
    listed = list(commands(readme.read_text(encoding="utf-8")))
    assert f"recserve demo --domain {request.param}" in listed
    assert any(command.startswith("recserve serve ") for command in listed)
    for command in listed:
        if not command.startswith(ELSEWHERE):
            run(command)
    return tmp_path / ".recserve" / request.param


@pytest.mark.parametrize("home", ["music"], indirect=True)
def test_music_comes_again_and_of_different_artists(home: Path) -> None:
    again, new, chinese = served(
        home,
        Request(user_id="u001", n=10),
        Request(user_id="u001", n=10, scenario="discover"),
        Request(user_id="u001", n=10, language="zh"),
    )
    sources = [item.sources[0] for item in again.items]
    assert sources.count("repeat") > 3
    heard = {event.item_id for _, event in State(home).store.history("u001", 1000)}
    repeated = [item.item_id in heard for item in again.items if item.sources[0] == "repeat"]
    assert repeated
    assert all(repeated)
    assert not heard & {item.item_id for item in new.items}
    for answer, most in ((again, 2), (new, 1)):
        artists = [item.attributes["artist"] for item in answer.items]
        assert max(map(artists.count, artists)) <= most
    assert any(item.explanation == "You keep coming back to this" for item in again.items)
    assert any(item.explanation == "您常听，该再听一遍了" for item in chinese.items)


@pytest.mark.parametrize("home", ["social"], indirect=True)
def test_a_feed_is_of_posts_and_changes_with_a_follow(home: Path) -> None:
    feed, people = served(
        home, Request(user_id="u001", n=10), Request(user_id="u001", n=5, scenario="people", language="zh")
    )
    assert {item.attributes["kind"] for item in feed.items} == {"post"}
    assert {item.attributes["kind"] for item in people.items} == {"author"}
    assert any("的人也关注这位作者" in (item.explanation or "") for item in people.items)
    authors = [item.attributes["author"] for item in feed.items]
    assert max(map(authors.count, authors)) <= 2
    assert any((item.explanation or "").startswith("Because you follow ") for item in feed.items)
    store = State(home).store
    followed = {event.item_id for _, event in store.history("u001", 1000) if event.event == "follow"}
    assert not followed & {item.item_id for item in people.items}

    store.add_events([Event("guest", people.items[0].item_id, "follow", 1_790_000_000_000)])
    (guest,) = served(home, Request(user_id="guest", n=2))
    assert {item.attributes["author"] for item in guest.items} == {people.items[0].attributes["title"]}


@pytest.mark.parametrize("home", ["video"], indirect=True)
def test_videos_are_of_different_creators_and_judged_by_watch_time(home: Path) -> None:
    page, chinese = served(home, Request(user_id="u001", n=10), Request(user_id="u001", n=10, language="zh"))
    creators = [item.attributes["creator"] for item in page.items]
    assert len(creators) == 10
    assert max(map(creators.count, creators)) <= 2
    assert any((item.explanation or "").startswith("Because you ") for item in page.items)
    assert any((item.explanation or "").startswith("因为您") for item in chinese.items)
    values = [event.value for _, event in State(home).store.history("u001", 1000) if event.event == "watch"]
    assert values
    assert all(value is not None and 0.1 <= value <= 2 for value in values)


@pytest.mark.parametrize("home", ["shop"], indirect=True)
def test_a_shop_speaks_chinese_and_finds_what_is_written_today(home: Path) -> None:
    page, search = served(
        home, Request(user_id="u001", n=10), Request(scenario="search", query="苹果手机", n=10)
    )
    assert len(page.items) == 10
    assert any((item.explanation or "").startswith("因为您") for item in page.items)
    assert "苹果手机" in search.items[0].attributes["title"]
    State(home).store.upsert_items([Item("new", {"title": "夜光灯笼", "kind": "灯具", "price": 9})])
    (found,) = served(home, Request(scenario="search", query="夜光灯笼", n=3))
    assert found.items[0].item_id == "new"
