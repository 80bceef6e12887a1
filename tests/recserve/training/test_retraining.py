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
from recserve.errors import ConflictError
from recserve.store import open_store
from recserve.training.promotion.gate import GateError

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
