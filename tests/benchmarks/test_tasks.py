"""Tasks at the console: some of them on a small server, and what is counted of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.tasks.__main__ import TASKS, Done, do_all, markdown
from benchmarks.tasks.hand import Effort, Hand, WrongAnswerError
from benchmarks.tasks.parts import Task, agree, told
from benchmarks.tasks.world import World
from recserve.api import ApiSettings, LocalBackend, create_app
from recserve.cli.common import State
from recserve.serving.local import local_pipeline
from tests.recserve.api.conftest import CHROMIUM, listening
from tests.support.operated import live_through


@pytest.fixture
def world(trained_home: Path, tmp_path: Path) -> Iterator[World]:
    """A server of a trained bundle with a past."""
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    state = State(home)
    bundle = state.current_bundle()
    items = [item.item_id for item in state.store.list_items(None, 20)]
    live_through(
        state.store,
        bundle.id,
        bundle.id,
        days=2,
        pages=10,
        items=items,
        sources=["mf", "content", "popular"],
        lift=0.2,
    )
    pipeline = local_pipeline(state.resolved, bundle, state.store)
    backend = LocalBackend(
        pipeline,
        state.store,
        state.registry.plugins,
        sample_users=["user-1"],
        config=state.config,
        home=home,
    )
    with state.store, listening(create_app(backend, ApiSettings.of(state.config))) as url:
        made = World(url)
        yield made
        made.close()


@pytest.mark.long
@pytest.mark.browser
def test_answers_on_the_page_are_those_of_the_api(world: World) -> None:
    pytest.importorskip("playwright.sync_api", reason="the Python package playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")

    def misled(hand: Hand, world: World) -> str:
        agree("the view", hand.read("the heading", hand.page.locator("h1")), "Live")
        return "never"

    questions = ("Stop the losing arm", "share of the catalogue", "parameter")
    chosen = [task for task in TASKS if any(words in task.question for words in questions)]
    *found, wrong = do_all(world, [*chosen, Task("engineer", "Is this Live?", misled)])
    assert [done.problem for done in found] == [None] * 3
    assert [(done.effort.clicks, done.effort.keys) for done in found] == [(1, 0), (4, 0), (2, 10)]
    assert found[-1].answer is not None
    assert "sweeps over users and items" in found[-1].answer
    assert wrong.answer is None
    assert wrong.problem == "the view: the page says 'Try', the API 'Live'"


def test_there_are_ten_tasks_of_each() -> None:
    assert [task.who for task in TASKS] == ["product manager"] * 10 + ["engineer"] * 10
    assert len({task.question for task in TASKS}) == 20


def test_a_persons_seconds_are_the_models() -> None:
    effort = Effort(clicks=2, keys=10, scrolls=1, homes=1, thoughts=3)
    assert effort.person == pytest.approx(12 * 0.28 + 3 * 1.10 + 0.40 + 3 * 1.35)


def test_the_documentation_has_a_row_a_task() -> None:
    done = Done(TASKS[0], Effort(clicks=1, thoughts=1, waited=0.51), "an answer")
    row = f"| product manager | {TASKS[0].question} | 1 | 0 | 0 | 0.5 | 2.7 |"
    assert markdown([done]).splitlines()[2:] == [row]


def test_what_is_missing_is_named() -> None:
    with pytest.raises(WrongAnswerError, match="'9%' is not in '8%'"):
        told("8%", "9%")
