"""``recserve evaluate`` from the command line, on files and on a store, with installed plugins."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recserve import Component, ConfigError, DataError, Event, Item, NoParams, RecserveError
from recserve.cli import evaluate
from recserve.config import parse_config
from recserve.registry import PluginInfo, Registry
from recserve.stages import Stage
from recserve.store import open_store

CONFIG = "encoder: null\nscenarios: {home: {retrievers: [{use: popular}]}}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "recserve.yaml").write_text(CONFIG)
    return folder


def run(*arguments: object) -> str:
    """Run the command; what it raises comes through, as ``recserve.cli.main`` would see it."""
    app = typer.Typer()
    evaluate.register(app)
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=True)
    if isinstance(result.exception, RecserveError):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def write(path: Path, rows: list[tuple], columns: tuple[str, ...]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Training and test events; i0 is the most popular, i1 the second, i2 the third."""
    train = [("u1", "i0"), ("u2", "i0"), ("u3", "i0"), ("u1", "i1"), ("u2", "i1"), ("u3", "i2")]
    test = [("u1", "i2"), ("u2", "i9"), ("u2", "i2"), ("new", "i0")]
    columns = ("user_id", "item_id")
    return write(tmp_path / "train.csv", train, columns), write(tmp_path / "test.csv", test, columns)


def test_a_given_split_without_timestamps(home, files, tmp_path):
    train, test = files
    target = tmp_path / "out.json"
    output = run(
        "--model", "popular", "--train", train, "--test", test,
        "--k", "1,2", "--json", target, "--home", home,
    )  # fmt: skip
    report = json.loads(target.read_text())
    assert report["model"] == "popular"
    assert report["split"] == "given"
    assert (report["users"], report["items"]) == (3, 3)
    assert report["fit_seconds"] >= 0
    # Everybody's first recommendation is right; i9 is unknown and counts as a miss of u2.
    assert report["metrics"]["hr@1"]["mean"] == 1.0
    assert report["metrics"]["recall@2"]["mean"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert len(report["metrics"]["recall@2"]["ci95"]) == 2
    assert "popular" in output
    assert "nDCG@1" in output
    assert not list(home.glob("*.db*"))


def test_an_items_file_widens_the_catalogue(home, files, tmp_path):
    train, test = files
    items = write(tmp_path / "items.csv", [("i9", "Nine"), ("i0", "Zero")], ("item_id", "title"))
    target = tmp_path / "out.json"
    run(
        "--model", "popular", "--train", train, "--test", test, "--items", items,
        "--json", target, "--home", home,
    )  # fmt: skip
    assert json.loads(target.read_text())["items"] == 4


def test_several_models_give_a_list(home, files, tmp_path):
    train, test = files
    target = tmp_path / "out.json"
    output = run("--train", train, "--test", test, "--json", target, "--home", home)
    assert [one["model"] for one in json.loads(target.read_text())] == ["pipeline", "popular"]
    assert "pipeline" in output


def test_leave_one_out_of_one_file(home, files, tmp_path):
    target = tmp_path / "out.json"
    output = run(
        "--model", "popular", "--train", files[0], "--split", "leave-one-out",
        "--json", target, "--home", home,
    )  # fmt: skip
    report = json.loads(target.read_text())
    assert (report["split"], report["users"]) == ("leave-one-out", 3)
    assert report["note"].startswith("leaky")
    assert "leaky" in output


def test_the_temporal_split_of_the_store_is_the_default(home, tmp_path):
    generator = np.random.default_rng(0)
    store = open_store(None, home)
    store.add_events(
        [
            Event(f"u{generator.integers(20)}", f"i{generator.integers(30)}", "view", 1000 + step)
            for step in range(300)
        ]
    )
    store.upsert_items([Item(f"i{row}", {"title": f"Item {row}"}) for row in range(30)])
    store.close()
    target = tmp_path / "out.json"
    arguments = ("--model", "popular", "--json", target, "--home", home)
    run(*arguments)
    whole = json.loads(target.read_text())
    assert whole["split"] == "temporal"
    assert 0 < whole["queries"] <= 30
    run(*arguments)
    again = json.loads(target.read_text())
    assert again["metrics"] == whole["metrics"]
    run(*arguments, "--queries-per-user", 1)
    capped = json.loads(target.read_text())
    assert capped["queries"] == capped["users"] == whole["users"]
    run(*arguments, "--seed", 7)
    assert json.loads(target.read_text())["seed"] == 7


def test_an_empty_store_says_what_to_do(home):
    with pytest.raises(DataError, match="no events: run 'recserve import'"):
        run("--model", "popular", "--home", home)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--test", "test.csv"], "--test needs --train"),
        (["--items", "items.csv"], "--items needs --train"),
        (["--train", "train.csv"], "either --test FILE, or --split"),
        (["--train", "a", "--test", "b", "--split", "temporal"], "either --test FILE, or --split"),
        (["--split", "leave-one-out", "--queries-per-user", "5"], "for the temporal split"),
        (["--k", "ten"], "must be whole numbers"),
        (["--k", "0,10"], "must be whole numbers"),
        (["--k", ""], "must be whole numbers"),
        (["--json", "no/such/folder/out.json"], "there is no folder"),
        (["--model", "populr"], "unknown model 'populr'; did you mean 'popular'"),
    ],
)
def test_contradictory_options_are_one_clear_line(home, arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(*arguments, "--home", home)
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named(home, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        run(
            "--model", "popular", "--train", tmp_path / "nowhere.csv", "--test", tmp_path / "x.csv",
            "--home", home,
        )  # fmt: skip


def test_the_temporal_split_of_a_file_needs_timestamps(home, files):
    with pytest.raises(DataError, match="timestamp"):
        run("--model", "popular", "--train", files[0], "--split", "temporal", "--home", home)


class Params(NoParams):
    """Parameters of the components below."""

    width: int = 1


def registry() -> Registry:
    """Retrievers ``mf``, ``text`` and ``both``; ``both`` is a ranker as well, ``deep`` only a ranker."""

    def component(name: str, **options: object) -> Component:
        return Component(name, lambda params, catalogue: (params, catalogue), Params, **options)

    builtins = Registry.discover(only=["builtins"])
    contributed = {
        Stage.RETRIEVER: (
            component("mf"),
            component("both"),
            component("text", needs_vectors=True),
            component("popular"),
        ),
        Stage.RANKER: (component("both"), component("deep")),
        Stage.ENCODER: (component("bert"),),
    }
    plugins = [*builtins.plugins, PluginInfo("test", "test", "1", contributed)]
    return Registry(plugins, builtins.manager)


def resolved(**changes: object):
    pipeline = {
        "retrievers": [{"use": "mf", "params": {"width": 8}}],
        "ranker": {"use": "both", "params": {"width": 16}},
    }
    return registry().resolve(parse_config({"encoder": None, "scenarios": {"home": pipeline}, **changes}))


def test_default_models_are_the_pipeline_and_its_parts():
    models = evaluate.choose_models(registry(), resolved(), [])
    assert [one.name for one in models] == ["pipeline", "both", "mf", "popular"]
    assert models[0].component is None


def test_a_ranker_that_is_a_retriever_too_is_evaluated_with_the_rankers_parameters():
    both, mf, popular = evaluate.choose_models(registry(), resolved(), ["both", "mf", "popular", "mf"])
    assert both.component.stage is Stage.RETRIEVER
    assert both.component.params == Params(width=16)
    assert mf.component.params == Params(width=8)
    assert popular.component.params == Params(width=1)


def test_models_that_cannot_be_evaluated_are_refused():
    with pytest.raises(ConfigError, match="'deep' is a ranker, not a retriever"):
        evaluate.choose_models(registry(), resolved(), ["deep"])
    with pytest.raises(ConfigError, match="'text' needs text vectors"):
        evaluate.choose_models(registry(), resolved(), ["text"])
