"""Estimates from what chance decided: they find the better policy, and say where the log says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recserve import Event
from recserve.config import Config
from recserve.data.arrays import Int64Array
from recserve.data.entities import now_ms
from recserve.outcomes.join import impressions
from recserve.store import ExposedItem, Exposure, open_store
from recserve.training.promotion.off_policy import FEWEST_PLACES, Replay, off_policy, replay
from tests.support.pipelines import Lab

RATES = np.array([0.05, 0.1, 0.6])


def log(chosen: Int64Array | int, rows: int = 3_000, seed: int = 0) -> Replay:
    """Items 0 to 2 by chance in one place; each is clicked at its rate."""
    rng = np.random.default_rng(seed)
    shares = np.array([0.5, 0.3, 0.2])
    items = rng.choice(3, rows, p=shares)
    return Replay(
        units=np.arange(rows),
        places=np.full(rows, 4),
        items=items,
        chosen=np.broadcast_to(chosen, rows).astype(np.int64),
        rewards=(rng.random(rows) < RATES[items]).astype(np.float64),
        propensities=shares[items],
    )


@pytest.mark.parametrize("item", [0, 1, 2])
def test_estimates_hold_what_the_choice_would_have_earned(item: int) -> None:
    figures = log(item).finding().figures
    for name in ("ips", "snips", "dr"):
        value, low, high = figures[name]
        assert low <= RATES[item] <= high
        assert value == pytest.approx(RATES[item], abs=0.1)


def test_a_choice_that_would_have_earned_less_is_refused() -> None:
    finding = log(0).finding()
    assert finding.objection == "which is less"
    assert finding.source == "off-policy"
    assert log(2).finding().objection is None


def test_a_choice_that_the_log_does_not_hold_is_no_evidence() -> None:
    chosen = np.where(np.arange(3_000) % 4 == 0, 0, -1)
    finding = log(chosen).finding()
    assert finding.objection is None
    assert "that says little" in finding.summary
    assert finding.figures["mean_weight"][0] == pytest.approx(0.25, abs=0.05)


def test_a_bundle_is_asked_as_of_the_moment_of_each_answer(tmp_path: Path) -> None:
    with open_store(None, tmp_path) as store:
        lab = Lab(store)
        start = now_ms() - 3_600_000
        shown = (ExposedItem("i1", 1.0), ExposedItem("i7", 1.0, propensity=0.25))
        for user in range(FEWEST_PLACES):
            exposed = shown if user % 2 else (shown[0], replace(shown[1], item_id="i9", propensity=0.75))
            name = f"u{user}"
            store.add_exposures([Exposure(name, name, "b", "home", start + user, exposed)])
        store.add_events([Event("u3", "i7", "view", start + 10, recommendation_id="u3")])
        store.flush()
        table = impressions(store, Config(), start, now_ms())
        chance = table.filter(table["propensity"].is_valid())
        found = replay(store, lab.pipeline, chance)
        # The ranker of the lab puts higher rows first, whoever asks.
        assert set(found.chosen.tolist()) == {1}
        assert sorted(set(found.items.tolist())) == [0, 1]
        assert found.rewards.sum() == 1.0
        assert set(found.places.tolist()) == {1}
        assert len(set(found.units.tolist())) == FEWEST_PLACES
        assert sorted(set(found.propensities.tolist())) == [0.25, 0.75]
        assert off_policy(store, Config(), lambda: lab.pipeline, start) is not None
        assert off_policy(store, Config(), lambda: lab.pipeline, start + 1) is None, "too few since"
