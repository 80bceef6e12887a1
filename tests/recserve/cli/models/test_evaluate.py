"""``recserve evaluate`` from the command line, on files and on a store, with installed plugins."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import typer
from playwright.sync_api import sync_playwright
from typer.testing import CliRunner

from recserve import Catalogue, Component, ConfigError, DataError, Event, Item, NoParams, RecserveError
from recserve.cli.models import evaluate
from recserve.config import parse_config
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import PluginInfo, Registry
from recserve.store import open_store
from recserve.testing import example_dataset
from recserve.training.automatic import AutomaticPipeline
from recserve.training.fitting import Fitted

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


@pytest.mark.long
def test_files_without_a_configuration_are_measured_with_parts_chosen_on_them(tmp_path):
    """Two crowds, each with items of its own, in no order; parts are chosen as for a first bundle."""
    generator = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}")
        for user in range(300)
        for item in (user % 2) * 20 + generator.choice(20, 8, replace=False)
    ]
    columns = ("user_id", "item_id")
    test = write(tmp_path / "test.csv", rows[::8], columns)
    train = write(tmp_path / "train.csv", [row for place, row in enumerate(rows) if place % 8], columns)
    common = ("--train", train, "--test", test, "--home", tmp_path / "new")
    output = run(*common, "--json", tmp_path / "auto.json")
    assert "measured on events held out of the training data" in output
    reports = json.loads((tmp_path / "auto.json").read_text())
    assert reports[0]["model"] == "pipeline"
    assert {"mf", "item_knn", "popular"} <= {report["model"] for report in reports}
    assert "content" not in {report["model"] for report in reports}, "no item has a text"
    by_model = {report["model"]: report["metrics"]["ndcg@10"]["mean"] for report in reports}
    assert by_model["pipeline"] > by_model["popular"]


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


FRUIT = ("apple", "pear", "plum")


def fruit(folder: Path) -> tuple[Path, Path]:
    """Events of people who keep to one kind of fruit, with real times, and items with their kind."""
    generator = np.random.default_rng(0)
    events, times = [], iter(range(10_000))
    for _ in range(900):
        user = int(generator.integers(40))
        item = int(generator.integers(20)) * 3 + user % 3
        events.append((f"u{user}", f"i{item}", 1_600_000_000_000 + 1000 * next(times)))
    items = [(f"i{row}", f"Number {row}", FRUIT[row % 3]) for row in range(60)]
    return (
        write(folder / "events.csv", events, ("user_id", "item_id", "timestamp")),
        write(folder / "items.csv", items, ("item_id", "title", "kind")),
    )


def test_a_report_is_a_folder_with_a_page_that_needs_no_network(home, tmp_path):
    events, items = fruit(tmp_path)
    folder = tmp_path / "deep" / "report"
    output = run(
        "--train", events, "--items", items, "--split", "temporal", "--report", folder, "--home", home,
    )  # fmt: skip
    assert "leak check" not in output
    assert "trade-offs" in output
    value = json.loads((folder / "report.json").read_text())
    assert {one["model"] for one in value["trade_offs"]["models"]} == {"pipeline", "popular"}
    assert value["trade_offs"]["not_measured"] == []
    assert all(one["cost"]["answer_cpu_ms"] > 0 < one["cost"]["stored_bytes"] for one in value["models"])
    assert [one["model"] for one in value["models"]] == ["pipeline", "popular"]
    assert [one["name"] for one in value["leak_checks"]] == [
        "time", "answers", "features", "attributes", "shuffled labels", "vocabulary",
    ]  # fmt: skip
    assert all(one["passed"] for one in value["leak_checks"])
    assert {one["slice"] for one in value["slice_differences"]} == {
        one["slice"] for one in value["models"][0]["slices"]
    }
    # The pipeline of this home is the popular retriever: no difference at all.
    assert value["pipeline_over_best_part"]["mean"] == 0
    assert value["pipeline_over_best_part"]["second"] == "popular"
    pipeline = value["models"][0]
    assert pipeline["calibration_attribute"] == "kind"
    assert {one["stage"] for one in pipeline["stages"]} == {"retrieval", "ranking", "end to end"}
    assert {one["group"] for one in pipeline["slices"]} >= {"users", "items", "popularity"}

    page = (folder / "report.html").read_text()
    assert page.count("<figure") >= 5
    assert not re.search(r"(src|href|url)\s*[=(]|@import|<script|<link", page)
    assert "popular" in page
    assert "miscalibration" in page

    table = pq.read_table(folder / "per_user.parquet")
    assert table.num_rows == 2 * value["users"]
    popular = table.filter(pc.equal(table["model"].cast(pa.string()), "popular"))
    mean = value["models"][1]["metrics"]["ndcg@10"]["mean"]
    assert pc.mean(popular["ndcg@10"]).as_py() == pytest.approx(mean, rel=1e-5)
    part = next(one for one in pipeline["slices"] if one["group"] == "popularity")
    column = popular[f"hr@10 | {part['slice']}"]
    assert len(column) - column.null_count == part["users"]

    other = tmp_path / "again"
    run("--train", events, "--items", items, "--split", "temporal", "--report", other, "--home", home)
    again = json.loads((other / "report.json").read_text())
    for one in (value, again):
        one["command"] = None
        # What is measured in seconds and by them differs from run to run.
        del one["trade_offs"]
        for model in one["models"]:
            del model["fit_seconds"], model["evaluate_seconds"], model["cost"], model["dominated_by"]
    assert again == value


def test_the_attribute_of_calibration_can_be_named(home, tmp_path):
    events, items = fruit(tmp_path)
    arguments = ("--model", "popular", "--train", events, "--items", items, "--split", "temporal")
    with pytest.raises(ConfigError, match=r"no item has the attribute 'colour' .*known: kind, title"):
        run(*arguments, "--calibrate", "colour", "--home", home)
    target = tmp_path / "out.json"
    run(*arguments, "--calibrate", "title", "--json", target, "--home", home)
    assert json.loads(target.read_text())["calibration_attribute"] == "title"


def test_an_attribute_that_counts_the_answers_is_pointed_out(home, tmp_path, capsys):
    events, _ = fruit(tmp_path)
    with events.open() as file:
        counts = Counter(row["item_id"] for row in csv.DictReader(file))
    items = write(tmp_path / "counted.csv", [*counts.items()], ("item_id", "views"))
    arguments = ("--model", "popular", "--train", events, "--items", items, "--split", "temporal")
    output = run(*arguments, "--home", home) + capsys.readouterr().err
    assert "leak check: item attributes follow the events to predict: 'views'" in " ".join(output.split())


def test_a_domain_with_every_stage_is_told_apart_by_stage(trained_home, tmp_path):
    folder = tmp_path / "report"
    output = run("--model", "pipeline", "--model", "mf", "--report", folder, "--home", trained_home)
    assert "pipeline over mf, the best of the others, ndcg@10" in " ".join(output.split())
    pipeline = json.loads((folder / "report.json").read_text())["models"][0]
    parts = {(one["stage"], one["part"]): one["mean"] for one in pipeline["stages"]}
    assert {"mf", "content", "popular"} <= {part for stage, part in parts if stage == "retrieval"}
    assert ("ranking", "order of retrieval") in parts
    assert parts["retrieval", "merged, uncut"] >= parts["retrieval", "mf"]
    assert pipeline["diversity_vectors"] == "text"


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_page_is_drawn_by_a_browser(home, tmp_path):
    events, items = fruit(tmp_path)
    folder = tmp_path / "report"
    run("--train", events, "--items", items, "--split", "leave-one-out", "--report", folder, "--home", home)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        asked: list[str] = []
        complaints: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.goto((folder / "report.html").as_uri())
        assert [url for url in asked if not url.startswith("file:")] == []
        assert complaints == []
        assert tab.locator("section").count() >= 6
        assert "Leaky" in tab.locator(".banner").inner_text()
        for width in (360, 1100):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            for plot in tab.locator("figure").all():
                box = plot.bounding_box()
                assert box is not None
                assert box["width"] > 250
                assert box["height"] > 40
            # No text of a plot runs out of it.
            outside = tab.evaluate(
                """() => [...document.querySelectorAll('figure text, figure span')].filter(text => {
                    const box = text.getBoundingClientRect();
                    const all = text.closest('figure').getBoundingClientRect();
                    return Math.max(all.left - box.left, box.right - all.right, box.bottom - all.bottom) > 1;
                }).map(text => text.textContent)"""
            )
            assert outside == []
        browser.close()


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
        (["--report", "FILE"], "this is a file; name a folder"),
        (["--model", "populr"], "unknown model 'populr'; did you mean 'popular'"),
    ],
)
def test_contradictory_options_are_one_clear_line(home, arguments, message):
    arguments = [home / "recserve.yaml" if one == "FILE" else one for one in arguments]
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


def test_parts_of_a_chosen_pipeline_come_before_those_of_the_configured_one(tmp_path):
    configured, chosen = (
        resolved(),
        resolved(scenarios={"home": {"retrievers": [{"use": "mf", "params": {"width": 32}}]}}),
    )
    bench = evaluate.Bench(configured, tmp_path, lambda *step: None, None, registry())
    bench.chosen = AutomaticPipeline(chosen, Fitted(chosen, Catalogue()), ())
    models = evaluate.choose_models(registry(), configured, [])
    found = bench.parts(models, example_dataset())
    assert [model.name for model in found] == ["mf", "popular", "both"]


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
