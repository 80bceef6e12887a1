"""The gate in front of what is served: both ways to measure, refusal, force, rollback, and the audit log."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from recserve.bundles.repository import BundleRepository
from recserve.cli import app
from recserve.config import load_config
from recserve.errors import BundleError, ConfigError, NotFoundError
from recserve.evaluation import Interval
from recserve.plugin.registry import Registry
from recserve.store import open_store
from recserve.training.promotion.gate import GateError, pass_gate
from recserve.training.promotion.offline import Measurement, Verdict, compare, read_measurement

if TYPE_CHECKING:
    from recserve.data.dataset import Tables
    from recserve.store import AuditEntry


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained_home, tmp_path / "home")
    return tmp_path / "home"


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def current(home: Path) -> str:
    with open_store(None, home) as store:
        found = store.current_bundle()
    assert found is not None
    return found


def audit(home: Path) -> list[AuditEntry]:
    with open_store(None, home) as store:
        return [one for one in store.audit(100) if one.action.startswith("bundle.")]


def train(home: Path, change: dict[str, Any] | None = None) -> str:
    """Train without promoting, with a changed configuration; the new bundle's id."""
    before = set(BundleRepository(home).ids())
    path = home / "changed.yaml"
    raw = yaml.safe_load((home / "recserve.yaml").read_text())
    raw |= change or {}
    path.write_text(yaml.safe_dump(raw))
    output = run("train", "--no-promote", "--home", home, "--config", path)
    (found,) = set(BundleRepository(home).ids()) - before
    assert f"bundle {found} is trained, but not current" in output
    return found


# Only strangers' favourites: measurably worse than a personal pipeline on data with clear tastes.
WORSE = {"scenarios": {"home": {"retrievers": [{"use": "popular"}]}}}


@pytest.mark.slow
def test_a_worse_bundle_is_refused_and_nothing_is_fitted_to_know(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = current(home)
    worse = train(home, WORSE)
    assert current(home) == before, "--no-promote leaves the current bundle alone"

    def never(*arguments: object, **named: object) -> None:
        raise AssertionError("both were measured in training: nothing has to be fitted")

    monkeypatch.setattr("recserve.training.promotion.offline.fit_pipeline", never)
    with pytest.raises(GateError) as refused:
        run("promote", worse, "--home", home)
    assert refused.value.message.startswith("refused: nDCG@10 0.")
    assert "both measured in training on the same data" in refused.value.message
    assert "more than the margin of 0.005" in refused.value.message
    assert current(home) == before
    (entry,) = audit(home)
    assert (entry.action, entry.target) == ("bundle.refuse", worse)
    offline = entry.detail["offline"]
    assert offline["difference"] < -0.005
    assert offline["ci95"][0] <= offline["difference"] <= offline["ci95"][1]
    assert entry.actor.startswith("cli:")

    # What the gate says is what both training runs measured.
    first, second = (read_measurement(home, one) for one in (before, worse))
    assert first is not None
    assert second is not None
    difference = float(np.mean(second.values) - np.mean(first.values))
    assert offline["difference"] == pytest.approx(difference, abs=1e-5)
    report = json.loads((home / "reports" / f"{worse}.json").read_text())
    assert report["metrics"]["ndcg@10"]["mean"] == pytest.approx(float(np.mean(second.values)), abs=1e-5)

    # A margin as wide as the loss lets it through; the way back is one step, and a second one returns.
    output = run("promote", worse, "--home", home, "--margin", "1")
    assert f"bundle {worse} is current" in output
    assert current(home) == worse
    assert f"bundle {before} is current again, instead of {worse}" in run("rollback", "--home", home)
    assert current(home) == before
    run("rollback", "--home", home)
    assert current(home) == worse
    run("promote", before, "--home", home)
    with pytest.raises(ConfigError, match="--force needs --reason"):
        run("promote", worse, "--home", home, "--force")
    assert current(home) == before
    run("promote", worse, "--home", home, "--force", "--reason", "a drill for the shop's team")
    assert current(home) == worse
    actions = [(one.action, one.target, one.detail.get("forced")) for one in reversed(audit(home))]
    assert actions == [
        ("bundle.refuse", worse, False),
        ("bundle.promote", worse, False),
        ("bundle.rollback", before, None),
        ("bundle.rollback", worse, None),
        ("bundle.promote", before, False),
        ("bundle.promote", worse, True),
    ]
    assert f"bundle {worse} is current already" in run("promote", worse, "--home", home)

    with open_store(None, home) as store:
        promotions = store.promotions(100)
    assert [(one.bundle_id, one.grounds.action) for one in reversed(promotions)] == [
        (before, "train"),
        (worse, "promote"),
        (before, "rollback"),
        (worse, "rollback"),
        (before, "promote"),
        (worse, "promote"),
    ]
    forced, measured = promotions[0].grounds, promotions[-2].grounds
    assert (forced.reason, forced.evidence) == ("a drill for the shop's team", {"forced": True})
    assert measured.evidence["offline"]["difference"] == offline["difference"]
    assert measured.evidence["offline"]["margin"] == 1.0
    assert {one.grounds.actor for one in promotions} == {entry.actor}
    shown = run("promotions", "--home", home, "--limit", 3)
    assert "a drill for the shop's team" in shown
    assert shown.count("rollback") == 1


@pytest.mark.slow
def test_bundles_of_different_data_are_fitted_again_on_today_s(home: Path, tmp_path: Path) -> None:
    before = current(home)
    events = tmp_path / "more.csv"
    with open_store(None, home) as store:
        newest = int(np.max(store.snapshot().events["timestamp"].to_numpy()))
    rows = [f"user-{n},item-{n % 60},view,,{newest + 1000 * (n + 1)}" for n in range(40)]
    events.write_text("user_id,item_id,event,value,timestamp\n" + "\n".join(rows) + "\n")
    run("import", "--events", events, "--home", home)
    worse = train(home, WORSE)
    with pytest.raises(GateError, match="the current one fitted again on the data that the other was measur"):
        run("promote", worse, "--home", home)
    # Without what training measured of it, both are.
    (home / "reports" / f"{worse}.measured.json").unlink()
    with pytest.raises(GateError, match="both fitted again on today's data before its test window"):
        run("promote", worse, "--home", home)
    assert current(home) == before
    # The same configuration on newer data is as good by construction: it always passes.
    same = train(home)
    output = run("promote", same, "--home", home)
    assert "a difference of +0.0000" in output
    assert "the same configuration, so equal on equal data" in output
    assert current(home) == same


@pytest.mark.slow
def test_bundles_that_count_other_events_cannot_be_compared(home: Path) -> None:
    other = train(home, {"events": {"dislike": {"weight": 1.0}}})
    config, registry, repository = (
        load_config(home / "recserve.yaml"),
        Registry.discover(),
        BundleRepository(home),
    )
    (home / "reports" / f"{other}.measured.json").unlink()

    def snapshot() -> Tables:
        with open_store(None, home) as store:
            return store.snapshot()

    with pytest.raises(ConfigError, match="were trained with different event types"):
        compare(home, config, registry, repository.open(current(home)), repository.open(other), snapshot)


def test_what_is_not_there_cannot_be_promoted(home: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle '20200101-abc' \(known: "):
        run("promote", "20200101-abc", "--home", home)
    with pytest.raises(BundleError, match="there is no earlier bundle to go back to"):
        run("rollback", "--home", home)
    other = home.parent / "other"
    other.mkdir()
    shutil.copytree(home / "bundles", other / "bundles")
    with pytest.raises(NotFoundError, match="the store does not know it"):
        run("promote", current(home), "--home", other)


def test_a_damaged_bundle_is_never_made_current(home: Path) -> None:
    before = current(home)
    with open_store(None, home) as store:
        copy = BundleRepository(home).local / before
        (copy / "items.parquet").write_bytes(b"")
        store.record_bundle("gone", 1, {})
        store.set_current("gone")
    with pytest.raises(BundleError, match=r"items\.parquet"):
        run("rollback", "--home", home)
    assert current(home) == "gone"
    assert audit(home) == []


def measurement(**changes: Any) -> Measurement:
    fields = {"data": "d", "test_window": 0.1, "history": 1000, "queries_per_user": 50, "values": [0.1, 0.2]}
    return Measurement.model_validate({**fields, **changes})


@pytest.mark.parametrize(
    "change",
    [{"data": "e"}, {"test_window": 0.2}, {"history": 10}, {"queries_per_user": 5}, {"values": [0.1]}],
)
def test_only_figures_of_the_same_users_and_events_are_compared(change: dict[str, Any]) -> None:
    assert measurement().comparable(measurement(values=[0.3, 0.0]))
    assert not measurement().comparable(measurement(**change))


def test_the_margin_is_a_loss_that_passes() -> None:
    verdict = Verdict(0.3, 0.29, Interval(-0.01, -0.02, 0.0), 80, "test")
    pass_gate([verdict.finding(0.01)])
    with pytest.raises(
        GateError, match=r"0\.2900 against 0\.3000 .* -0\.0100 \(-0\.0200 to \+0\.0000, 80 users"
    ):
        pass_gate([verdict.finding(0.009)])
    pass_gate([replace(verdict, difference=Interval(0.01, -0.02, 0.04)).finding(0.0)])
