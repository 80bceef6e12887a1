"""``recserve evaluate --baselines`` from the command line, with the installed plugins."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from recserve import DataError
from recserve.cli.models import evaluate
from recserve.testing import example_dataset

BASELINES = ["popular", "trending", "item_knn", "user_knn", "ease"]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example data set as a file."""
    data = example_dataset()
    path = tmp_path_factory.mktemp("events") / "events.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "event", "timestamp"])
        for row in range(len(data)):
            user, item = data.user_ids.ids[data.users[row]], data.catalogue.ids.ids[data.items[row]]
            writer.writerow([user, item, data.event_types[data.events[row]], int(data.timestamps[row])])
    return path


def run(tmp_path: Path, events: Path, retrievers: str, *arguments: str) -> tuple[list[dict], str]:
    """Run the command on a temporal split of the file; the reports and what was printed."""
    home, target = tmp_path / "home", tmp_path / "out.json"
    home.mkdir()
    (home / "recserve.yaml").write_text(f"encoder: null\nscenarios: {{home: {{retrievers: {retrievers}}}}}\n")
    app = typer.Typer()
    evaluate.register(app)
    given = ["--train", events, "--split", "temporal", "--json", target, "--home", home, *arguments]
    result = CliRunner().invoke(app, [str(one) for one in given], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    reports = json.loads(target.read_text())
    assert not list(home.glob("bundles/*"))
    return reports, result.output


def test_they_come_after_what_is_measured_anyway(tmp_path: Path, events: Path) -> None:
    reports, output = run(tmp_path, events, "[{use: popular}, {use: mf}]", "--baselines")
    names = [one["model"] for one in reports]
    assert names == ["pipeline", "popular", "mf", "trending", "item_knn", "user_knn", "ease"]
    ndcg = {one["model"]: one["metrics"]["ndcg@10"]["mean"] for one in reports}
    # The users of this data set stay with their topics.
    for name in ("item_knn", "user_knn", "ease"):
        assert ndcg[name] > 1.5 * ndcg["popular"], ndcg
        assert name in output


def test_they_are_added_to_named_models_once_and_take_configured_parameters(
    tmp_path: Path, events: Path
) -> None:
    configured = "[{use: popular}, {use: item_knn, params: {neighbours: 1}}]"
    reports, _ = run(tmp_path, events, configured, "--model", "item_knn", "--baselines")
    names = [one["model"] for one in reports]
    assert sorted(names) == sorted(BASELINES)
    assert names[0] == "item_knn"
    one_neighbour = reports[0]["metrics"]["ndcg@10"]["mean"]
    (tmp_path / "again").mkdir()
    reports, _ = run(tmp_path / "again", events, "[{use: popular}]", "--model", "item_knn", "--baselines")
    assert reports[0]["metrics"]["ndcg@10"]["mean"] != one_neighbour


def test_a_baseline_that_refuses_the_data_is_left_out_unless_it_was_named(
    tmp_path: Path, events: Path
) -> None:
    configured = "[{use: popular}, {use: ease, params: {max_items: 10}}]"
    reports, output = run(tmp_path, events, configured, "--model", "popular", "--baselines")
    assert [one["model"] for one in reports] == [name for name in BASELINES if name != "ease"]
    assert "ease is left out" in output
    assert "max_items" in output
    (tmp_path / "again").mkdir()
    with pytest.raises(DataError, match="60 items"):
        run(tmp_path / "again", events, configured, "--model", "ease", "--baselines")
