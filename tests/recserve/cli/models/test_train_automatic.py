"""``recserve train --auto``: chooses the parts, says why, and writes them down."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.csv as csv
import pytest
import yaml

from recserve.bundles.bundle import Bundle
from recserve.config import load_config
from recserve.errors import ConfigError
from tests.conftest import run
from tests.support.interactions import made_up_tables


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home without a configuration, with made-up events without times and texts."""
    folder = tmp_path_factory.mktemp("automatic")
    events = made_up_tables(users=200, items=200, each=20).events
    csv.write_csv(events.select(["user_id", "item_id", "event"]), folder / "events.csv")
    home = folder / "home"
    run("import", "--events", folder / "events.csv", "--time", "none", "--create-items", "--home", home)
    return home


def test_training_chooses_writes_and_keeps_to_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    output = run("train", "--home", home)
    written = (home / "recserve.yaml").read_text()
    chosen = load_config(home / "recserve.yaml")
    retrievers = {part.use: part.weight for part in chosen.scenarios["home"].retrievers}
    assert retrievers
    assert not {"content", "ease", "user_knn", "trending"} & set(retrievers)
    assert chosen.scenarios["home"].ranker is None
    assert list(chosen.scenarios) == ["home"], "nothing is searched where nothing has a text"
    for part in ("item_knn", "mf", "popular", "fused"):
        assert part in output
        assert f"#   {part} " in written
    assert "left out: no item has a text" in output
    assert "left out: times say nothing of the order of events" in written
    assert "on events held out of each user" in output
    answer = json.loads(run("recommend", "u0001", "--home", home, "--json"))
    assert answer["degraded"] == []
    assert len(answer["items"]) == 10

    # The file is the configuration from now on, and equal configuration and data give an equal bundle.
    (bundle,) = [path for path in (home / "bundles").iterdir() if not path.name.startswith(".")]
    told = json.loads((home / "reports" / f"{bundle.name}.json").read_text())["choices"]["home"]
    assert "trade-offs between parts of home" in output
    assert {"item_knn", "mf", "popular", "fused"} <= {row["model"] for row in told["models"]}
    assert set(told["models"][0]["figures"]) >= {
        "ndcg@10",
        "coverage@10",
        "novelty@10",
        "answer_ms",
        "megabytes",
    }
    assert "Trade-offs between parts of home" in (home / "reports" / f"{bundle.name}.html").read_text()
    again = run("train", "--home", home)
    assert bundle.name in again
    assert (home / "recserve.yaml").read_text() == written
    trained = set(Bundle.open(bundle).manifest.components)
    assert {f"retriever.{name}" for name in retrievers} <= trained
    assert not [key for key in trained if key.startswith("ranker.")]


def test_a_file_is_replaced_only_when_asked(home: Path) -> None:
    path = home / "recserve.yaml"
    before = "# mine\nserver: {port: 8123}\nscenarios: {home: {retrievers: [{use: popular}]}}\n"
    path.write_text(before)
    with pytest.raises(ConfigError, match="--overwrite"):
        run("train", "--auto", "--home", home)
    assert path.read_text() == before
    run("train", "--auto", "--overwrite", "--no-evaluate", "--home", home)
    plain = yaml.safe_load(path.read_text())
    assert plain["server"] == {"port": 8123}
    assert plain["scenarios"]["home"]["retrievers"] != [{"use": "popular"}]
    assert (home / "recserve.yaml.before-auto").read_text() == before
