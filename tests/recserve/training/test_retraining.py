"""Retraining over a growing log: what starts it, what the gate says, and what stays on disk."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from recserve import Event
from recserve.bundles.repository import BundleRepository
from recserve.cli import app
from recserve.errors import ConfigError, ConflictError
from recserve.store import open_store
from recserve.training.fitting import fit_windows
from recserve.training.promotion.gate import GateError
from recserve.training.retraining.status import read_status

pytestmark = pytest.mark.slow

# Only strangers' favourites: measurably worse than a personal pipeline on data with clear tastes.
WORSE = {"home": {"retrievers": [{"use": "popular"}]}}


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_home, tmp_path / "home")
    configure(tmp_path / "home", retrain={"min_events": 3, "keep": 1})
    return tmp_path / "home"


def configure(home: Path, **change: Any) -> None:
    path = home / "recserve.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))


def retrain(home: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["retrain", "--home", str(home), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def add_events(home: Path, n: int) -> None:
    with open_store(None, home) as store:
        items = [item.item_id for item in store.list_items(None, n)]
        newest = max(
            event.timestamp for user in store.recent_users(50) for event in store.histories([user], 1)[user]
        )
        store.add_events(
            [Event("a-new-user", item, "view", timestamp=newest + 1 + at) for at, item in enumerate(items)]
        )


def current(home: Path) -> str | None:
    with open_store(None, home) as store:
        return store.current_bundle()


def test_a_growing_log_is_trained_on_only_when_enough_is_new(home: Path) -> None:
    first = current(home)
    assert retrain(home).startswith("nothing to do: 0 new events since bundle")
    add_events(home, 2)
    assert "nothing to do: 2 new events since bundle" in retrain(home)
    assert current(home) == first
    add_events(home, 5)
    assert "promoted bundle" in retrain(home)
    second = current(home)
    assert second not in {None, first}

    configure(home, scenarios=WORSE)
    with pytest.raises(GateError, match="refused: nDCG@10"):
        retrain(home)
    assert current(home) == second
    assert "nothing to do" in retrain(home), "a refused configuration is not trained again and again"
    with open_store(None, home) as store:
        actions = [entry.action for entry in store.audit(10)]
        promotions = store.promotions(10)
    assert actions[:2] == ["bundle.refuse", "bundle.promote"]
    assert [one.grounds.action for one in promotions] == ["retrain", "train"]
    assert "new events since bundle" in str(promotions[0].grounds.reason)
    assert promotions[0].grounds.evidence["offline"]["difference"] == 0.0


def test_old_events_that_expire_do_not_hide_new_ones(home: Path) -> None:
    with open_store(None, home) as store:
        moments = store.snapshot().events["timestamp"].to_numpy()
        assert store.expire_events(int(np.median(moments))) > 100
    assert "nothing to do: 0 new events since bundle" in retrain(home)
    add_events(home, 2)
    assert "nothing to do: 2 new events since bundle" in retrain(home)


def test_old_bundles_go_but_neither_the_current_one_nor_the_one_before(home: Path) -> None:
    first = current(home)
    for _ in range(2):
        before = current(home)
        with open_store(None, home) as store:
            user = store.recent_users(1)[0]
            store.delete_user(user)
        output = retrain(home)
    assert "1 user ids were deleted since bundle" in output
    assert f"removed 1 old bundles: {first}" in output
    assert set(BundleRepository(home).ids()) == {before, current(home)}


def test_a_damaged_last_bundle_is_a_reason_to_train(home: Path) -> None:
    first = current(home)
    assert first is not None
    factors = next((home / "bundles" / first).rglob("item_factors.safetensors"))
    factors.write_bytes(factors.read_bytes()[:-1] + b"?")
    output = retrain(home)
    assert "the last bundle cannot be used: " in output
    assert "item_factors.safetensors" in output
    assert retrain(home).startswith("nothing to do")


def test_a_damaged_current_bundle_is_replaced_by_another_one(home: Path) -> None:
    first = current(home)
    assert first is not None
    factors = next((home / "bundles" / first).rglob("item_factors.safetensors"))
    factors.write_bytes(factors.read_bytes()[:-1] + b"?")
    add_events(home, 5)
    output = retrain(home)
    assert "item_factors.safetensors" in output
    assert "promoted bundle" in output
    assert current(home) not in {None, first}
    assert retrain(home).startswith("nothing to do")


def test_a_fresh_machine_fetches_no_bundle_to_find_nothing_to_do(home: Path, tmp_path: Path) -> None:
    first = current(home)
    assert first is not None
    configure(home, bundles=(tmp_path / "remote").as_uri())
    repository = BundleRepository(home, (tmp_path / "remote").as_uri())
    repository.publish(repository.open(first))
    shutil.rmtree(home / "bundles")
    assert retrain(home).startswith("nothing to do: 0 new events since bundle")
    assert not (home / "bundles").exists()
    (tmp_path / "remote" / first / "manifest.json").unlink()
    assert f"the last bundle cannot be used: bundle {first} is gone" in retrain(home)


def test_two_runs_never_overlap(home: Path) -> None:
    with (home / "retrain.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="another `recserve retrain`"):
            retrain(home)


def test_a_remote_bundle_is_removed_there_too(home: Path, tmp_path: Path) -> None:
    bundle_id = current(home)
    assert bundle_id is not None
    repository = BundleRepository(home, (tmp_path / "remote").as_uri())
    repository.publish(repository.open(bundle_id))
    assert (tmp_path / "remote" / bundle_id).is_dir()
    repository.remove(bundle_id)
    assert repository.ids() == []
    assert not (tmp_path / "remote" / bundle_id).exists()


def test_what_a_quick_training_left_out_is_trained_next(home: Path) -> None:
    def train(*options: str) -> str:
        result = CliRunner().invoke(app, ["train", "--home", str(home), *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    output = train("--quick")
    assert "trained without ranker.bert_lstm; `recserve retrain` trains all of it" in output
    quick = current(home)
    assert quick is not None
    manifest = BundleRepository(home).manifest(quick)
    assert manifest.postponed == ["ranker.bert_lstm"]
    assert "ranker.bert_lstm" not in manifest.components
    assert manifest.metrics["ndcg@10"]["mean"] > 0
    assert train("--quick") != "", "the same data give the same bundle"
    assert current(home) == quick
    answered = CliRunner().invoke(app, ["recommend", "user-1", "--home", str(home)])
    assert answered.exit_code == 0, answered.output

    # Both were measured on the same data.
    configure(home, promotion={"margin": 1.0})
    done = retrain(home)
    assert f"bundle {quick} was trained quickly, without ranker.bert_lstm" in done
    assert "both measured in training on the same data" in done
    whole = current(home)
    assert whole is not None
    assert BundleRepository(home).manifest(whole).postponed == []
    assert "ranker.bert_lstm" in BundleRepository(home).manifest(whole).components
    status = read_status(home)
    assert status is not None
    assert (status.state, status.bundle_id, status.before) == ("promoted", whole, quick)
    assert retrain(home).startswith("nothing to do")

    with pytest.raises(ConfigError, match="--auto tries what takes minutes, which --quick leaves out"):
        train("--quick", "--auto", "--overwrite")


def test_a_quick_bundle_of_older_data_is_fitted_again_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CliRunner().invoke(app, ["train", "--quick", "--home", str(home)]).exit_code == 0
    add_events(home, 1)
    configure(home, promotion={"margin": 1.0})

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("the candidate was measured in training")

    monkeypatch.setattr("recserve.training.promotion.offline.fit_pipeline", never)
    fitted: list[list[str]] = []

    def watched(resolved: Any, *rest: Any) -> Any:
        fitted.append(sorted(resolved.components()))
        return fit_windows(resolved, *rest)

    monkeypatch.setattr("recserve.training.promotion.offline.fit_windows", watched)
    output = retrain(home)
    assert "promoted bundle" in output
    assert "the current one fitted again on the data that the other was measured on" in output
    (parts,) = fitted
    assert "retriever.mf" in parts
    assert "ranker.bert_lstm" not in parts
