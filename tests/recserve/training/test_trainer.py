"""Training end to end with the real plugins: windows, determinism, damaged bundles, odd data."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from recserve.bundles.bundle import Bundle
from recserve.bundles.repository import BundleRepository
from recserve.cli import app
from recserve.config import load_config, parse_config
from recserve.errors import BundleError, DataError, RecserveError
from recserve.evaluation.splits import temporal
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.store import open_store
from recserve.testing import example_dataset
from recserve.training.fitting import fit_all
from recserve.training.selection.proposals import QuerySample, proposals
from recserve.training.trainer import Trainer

if TYPE_CHECKING:
    from tests.conftest import Domain


def command(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def bundles(home: Path) -> list[Path]:
    return sorted(path for path in (home / "bundles").iterdir() if not path.name.startswith("."))


def test_a_bundle_holds_what_it_promises(trained_home: Path) -> None:
    (folder,) = bundles(trained_home)
    bundle = Bundle.open(folder)
    manifest = bundle.manifest
    assert set(manifest.components) >= {
        "retriever.mf", "retriever.content", "retriever.popular", "retriever.trending", "ranker.bert_lstm",
    }  # fmt: skip
    assert manifest.components["retriever.mf"].distribution == "recserve-mf"
    assert manifest.seed == 0
    assert manifest.data.events == 1200
    assert bundle.catalogue.vectors is not None
    assert bundle.catalogue.vectors.shape == (60, 384)
    assert 0 <= manifest.metrics["ndcg@10"]["mean"] <= 1
    with open_store(None, trained_home) as store:
        assert store.current_bundle() == folder.name
    # Nothing that belongs to a user: no id, and no array with one row a user.
    assert manifest.data.users == 80
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"user-1" not in path.read_bytes(), path.name


@pytest.mark.slow
def test_two_homes_give_the_same_bundle_byte_for_byte(
    trained_home: Path, domain: Domain, tmp_path: Path
) -> None:
    home = tmp_path / "other"
    home.mkdir()
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    command("import", "--events", domain.events, "--items", domain.items, "--home", home)
    command("train", "--home", home)
    (one,), (other,) = bundles(trained_home), bundles(home)
    assert one.name == other.name
    files = Bundle.open(one).manifest.files
    assert files == Bundle.open(other).manifest.files
    command("train", "--home", home, "--seed", "1")
    assert len(bundles(home)) == 2


def test_one_flipped_byte_is_refused_and_the_previous_bundle_serves(
    trained_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    (folder,) = bundles(home)
    weights = next(folder.glob("components/ranker.bert_lstm/*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=weights.name.replace(".", r"\.")):
        command("recommend", "user-1", "--home", home)
    assert "sha256 differs" in " ".join(command("bundles", "--home", home).split())
    command("train", "--home", home, "--seed", "1", "--no-evaluate")
    # Now damage the newer one as well: the intact one of before must serve.
    newer = next(path for path in bundles(home) if path != folder)
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    (newer / "items.parquet").unlink()
    answer = json.loads(command("recommend", "user-1", "--home", home, "--json"))
    assert answer["bundle"] == folder.name


def test_without_a_ranker_and_an_evaluation_every_component_is_fitted_once(
    trained_home: Path, tmp_path: Path
) -> None:
    registry = Registry.discover()
    retrievers = [{"use": "popular"}, {"use": "mf", "params": {"dimension": 8, "iterations": 2}}]
    resolved = registry.resolve(parse_config({"scenarios": {"home": {"retrievers": retrievers}}}))
    started: list[str] = []
    trainer = Trainer(
        tmp_path,
        resolved,
        registry,
        BundleRepository(tmp_path, resolved.config.bundles),
        lambda description, done, total: started.append(description),
    )
    with open_store(None, trained_home) as store:
        trainer.run(store.snapshot(), evaluated=False)
    assert started.count("Fitting mf: started") == 1


def test_recommend_and_similar_from_the_command_line(trained_home: Path) -> None:
    answer = json.loads(command("recommend", "user-1", "--home", trained_home, "--json", "--n", "5"))
    assert len(answer["items"]) == 5
    assert answer["degraded"] == []
    assert all(item["explanation"] and item["sources"] for item in answer["items"])
    stranger = json.loads(command("recommend", "nobody", "--home", trained_home, "--json", "--n", "3"))
    assert [item["sources"][-1] for item in stranger["items"]] == ["popular"] * 3
    text = json.loads(
        command("recommend", "nobody", "-q", "trains", "--home", trained_home, "--json", "--n", "5")
    )
    assert {item["attributes"]["topic"] for item in text["items"]} == {"trains"}
    nobody = json.loads(command("recommend", "-q", "trains", "--home", trained_home, "--json", "--n", "5"))
    assert {item["attributes"]["topic"] for item in nobody["items"]} == {"trains"}
    similar = json.loads(command("similar", "item-0", "--home", trained_home, "--json", "--n", "5"))
    assert "item-0" not in [item["item_id"] for item in similar["items"]]
    assert similar["items"][0]["attributes"]["topic"] == "space"
    with pytest.raises(RecserveError, match="unknown item 'nothing'"):
        command("similar", "nothing", "--home", trained_home)
    with pytest.raises(RecserveError, match="unknown scenario 'hom'; did you mean 'home'"):
        command("recommend", "u", "--scenario", "hom", "--home", trained_home)


def test_proposals_look_only_forward(domain: Domain) -> None:
    data = example_dataset()
    split = temporal(data, 0.2)
    config = load_config(domain.config).model_copy(update={"encoder": None})
    plain = config.model_copy(update={"scenarios": {"plain": config.scenarios["plain"]}})
    resolved = Registry.discover().resolve(plain)
    fitted = fit_all(resolved, split.training, FitContext(event_types=data.event_types))
    examples = proposals(fitted.recommender("plain").retrieve, QuerySample.of(split, 40, seed=0)).examples
    assert examples.labels.shape == examples.candidates.items.shape
    assert len(examples.queries) == 40
    future: Mapping[int, set[int]] = {index: set() for index in range(len(examples.queries))}
    users = np.unique(split.rows)
    for index in range(len(examples.queries)):
        user, asked = users[examples.users[index]], examples.queries.times[index]
        mine = (data.users == user) & (data.timestamps >= asked) & (data.weights > 0)
        future[index].update(data.items[mine].tolist())
        history = examples.queries.histories
        start, end = history.offsets[index], history.offsets[index + 1]
        assert (history.timestamps[start:end] < asked).all()
        chosen = examples.candidates.items[index][examples.labels[index] > 0]
        assert set(chosen.tolist()) <= future[index]
    assert examples.labels.sum() > 0


def item_lines(*ids: str) -> str:
    return "".join(json.dumps({"item_id": one, "title": one.upper()[:20]}) + "\n" for one in ids)


BARE = '{"item_id": "a"}\n{"item_id": "b"}\n'
ONE_EACH = "".join(f"u{n},{'ab'[n % 2]},view,,{1600000000 + n}\n" for n in range(30))
ONE_TIME = "".join(f"u{n % 5},{'abc'[n % 3]},view,,1600000000\n" for n in range(15))
ODD_IDS = '"o\'brien ""x""",a/b?c=d,view,,1600000000\n😀,' + "x" * 10_000 + ",view,,1600000100\n"

TINY = {
    "one catalogue item": ("u1,a,view,,1600000000\nu2,a,view,,1600000100\n", item_lines("a")),
    "items without text": ("u1,a,view,,1600000000\nu1,b,view,,1600000100\n", BARE),
    "users with one event": (ONE_EACH, item_lines("a", "b")),
    "one event": ("u1,a,view,,1600000000\n", item_lines("a", "b")),
    "same time everywhere": (ONE_TIME, item_lines("a", "b", "c")),
    "odd ids": (ODD_IDS, item_lines("a/b?c=d", "x" * 10_000)),
}


RARE = {"items without text", "users with one event", "odd ids"}


@pytest.mark.parametrize(
    ("events", "items"),
    [
        pytest.param(*files, id=name, marks=[pytest.mark.long] if name in RARE else [])
        for name, files in TINY.items()
    ],
)
def test_tiny_and_odd_data_train_and_serve(domain: Domain, tmp_path: Path, events: str, items: str) -> None:
    (tmp_path / "e.csv").write_text("user_id,item_id,event,value,timestamp\n" + events)
    (tmp_path / "i.jsonl").write_text(items + "\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_bytes(domain.config.read_bytes())
    command("import", "--events", tmp_path / "e.csv", "--items", tmp_path / "i.jsonl", "--home", home)
    command("train", "--home", home)
    answer = json.loads(command("recommend", "stranger", "--home", home, "--json"))
    assert 1 <= len(answer["items"]) <= 3
    assert answer["degraded"] == []


def test_nothing_to_train_on_is_one_line(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="recserve import"):
        command("train", "--home", tmp_path, "--config", domain.config)
    with pytest.raises(BundleError, match="recserve train"):
        command("recommend", "u", "--home", tmp_path, "--config", domain.config)
