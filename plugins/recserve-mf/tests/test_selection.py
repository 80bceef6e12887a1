from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.retriever import MfRetriever
from recserve_mf.selection import (
    DEFAULT,
    REGULARIZATIONS,
    Validation,
    choose_regularization,
)
from recserve_mf.solver.ials import Objective
from recserve_mf.training import default_dimension

from recserve import Catalogue, Dataset, FitContext, Queries, Vocabulary
from recserve.plugin.toolkit.model_selection import MIN_USERS


def dataset(seed: int, n_users: int = 50, n_events: int = 600, n_items: int = 30) -> Dataset:
    generator = np.random.default_rng(seed)
    return Dataset(
        Catalogue([str(row) for row in range(n_items)]),
        Vocabulary(str(row) for row in range(n_users)),
        generator.integers(0, n_users, n_events).astype(np.int32),
        generator.integers(0, n_items, n_events).astype(np.int32),
        np.zeros(n_events, np.int16),
        generator.choice([-1.0, 1.0, 2.0], n_events).astype(np.float32),
        np.sort(generator.integers(0, 10_000, n_events)).astype(np.int64),
        ("view",),
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_holds_out_the_newest_positive_events_of_each_user(seed: int) -> None:
    data = dataset(seed)
    validation = Validation.of(data, seed=0)
    assert validation is not None
    assert len(validation.histories) == len(validation.targets) >= MIN_USERS
    positive = int((data.weights > 0).sum())
    assert len(validation.training) + len(validation.targets.items) == positive
    assert (validation.targets.lengths >= 1).all()
    assert (validation.histories.lengths >= 2).all()
    for row in range(len(validation.targets)):
        past = slice(*validation.histories.offsets[row : row + 2])
        future = slice(*validation.targets.offsets[row : row + 2])
        newest = validation.histories.timestamps[past].max()
        assert newest <= validation.targets.timestamps[future].min()


def test_too_few_users_are_not_validated_on() -> None:
    assert Validation.of(dataset(0, n_users=MIN_USERS - 1), seed=0) is None


def test_ndcg_is_one_for_an_oracle_and_ignores_items_of_the_history() -> None:
    # Everybody saw items 0 and 1, then item 2. In one dimension a larger factor ranks higher.
    users = np.tile(np.arange(40, dtype=np.int32), 3)
    items = np.repeat(np.arange(3, dtype=np.int32), 40)
    data = Dataset(
        Catalogue([str(row) for row in range(5)]),
        Vocabulary(str(row) for row in range(40)),
        users,
        items,
        np.zeros(120, np.int16),
        np.ones(120, np.float32),
        np.arange(120, dtype=np.int64),
        ("view",),
    )
    validation = Validation.of(data, seed=0)
    assert validation is not None

    def ndcg(*factors: float) -> float:
        column = np.array(factors, dtype=np.float32)[:, None]
        blank = Model.empty(5, 1, Objective(0.1, 0.1, 1.0))
        model = replace(blank, items=column, trained=np.ones(5, np.bool_))
        return validation.ndcg(model, threads=2)

    assert ndcg(9, 8, 7, 1, 1) == pytest.approx(1.0)
    assert ndcg(9, 8, 1, 7, 6) == pytest.approx(1 / np.log2(4))


@pytest.mark.parametrize("best", range(len(REGULARIZATIONS)))
def test_climbs_to_the_best_regularization_from_the_middle(
    best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = Validation.of(dataset(1), seed=0)
    assert validation is not None
    model = Model.empty(30, 2, Objective(1.0, 1.0, 1.0))
    fitted: list[float] = []

    def fit(training: Dataset, regularization: float) -> Model:
        assert training is validation.training
        fitted.append(regularization)
        return model

    monkeypatch.setattr(
        Validation, "ndcg", lambda self, model, threads: 1.0 - abs(REGULARIZATIONS.index(fitted[-1]) - best)
    )
    chosen, tried = choose_regularization(validation, fit, threads=1)
    assert chosen == REGULARIZATIONS[best]
    assert len(fitted) == len(set(fitted)) == len(tried)
    assert REGULARIZATIONS[DEFAULT] in fitted


def test_the_default_dimension_grows_with_the_smaller_side_within_bounds() -> None:
    assert default_dimension(dataset(0, n_users=2, n_events=20)) == 16
    assert default_dimension(dataset(0)) == 16
    large = dataset(0, n_users=700, n_events=40_000, n_items=900)
    assert default_dimension(large) == 128
    nothing = large.where(np.zeros(len(large), dtype=np.bool_))
    assert default_dimension(nothing) == 16


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_steps_are_held_out_events_with_all_that_came_before(seed: int) -> None:
    data = dataset(seed).positive()
    validation = Validation.of(data, seed=0)
    assert validation is not None
    steps = validation.steps
    assert (steps.targets.lengths == 1).all()
    assert len(steps.histories) == len(steps.targets) >= len(validation.targets)
    whole = {tuple(data.histories.select(np.array([user])).items.tolist()) for user in range(data.n_users)}
    for row in range(len(steps.targets)):
        past = slice(*steps.histories.offsets[row : row + 2])
        read = (*steps.histories.items[past].tolist(), int(steps.targets.items[row]))
        assert any(full[: len(read)] == read for full in whole), "a user's own events, from the first on"


def wanderers(seed: int, *, wander: bool) -> Dataset:
    """Users who like one of six groups of items at a time; some move on, the others like two for good."""
    generator = np.random.default_rng(seed)
    users, items, times = [], [], []
    for user in range(120):
        homes = generator.choice(6, 2, replace=False)
        for step in range(30):
            group = (homes[0] + step // 10) % 6 if wander else homes[generator.integers(2)]
            users.append(user)
            items.append(group * 12 + generator.integers(12))
            times.append(step * 1000 + user)
    order = np.argsort(times, kind="stable")
    return Dataset(
        Catalogue([str(row) for row in range(72)]),
        Vocabulary(str(row) for row in range(120)),
        np.array(users, np.int32)[order],
        np.array(items, np.int32)[order],
        np.zeros(len(users), np.int16),
        np.ones(len(users), np.float32),
        np.array(times, np.int64)[order],
        ("view",),
    )


def test_old_events_fade_where_tastes_move_on_and_only_there() -> None:
    context = FitContext(device="cpu", threads=1)
    params = MfParams(dimension=16, regularization=0.01)
    moving = MfRetriever(params, wanderers(0, wander=True).catalogue)
    assert moving.fit(wanderers(0, wander=True), context)["half_life_events"] in (1.5, 3.0, 6.0)
    settled = MfRetriever(params, wanderers(0, wander=False).catalogue)
    facts = settled.fit(wanderers(0, wander=False), context)
    assert facts["half_life_events"] == 0 or facts["half_life_events"] > 6
    told = params.model_copy(update={"half_life_events": 2.0})
    facts = MfRetriever(told, wanderers(0, wander=False).catalogue).fit(wanderers(0, wander=False), context)
    assert facts["half_life_events"] == 2.0
    again = MfRetriever(params, wanderers(0, wander=False).catalogue)
    prior = FitContext(device="cpu", threads=1, previous={"half_life_events": 12.0})
    assert again.fit(wanderers(0, wander=False), prior)["half_life_events"] == 12.0


def test_what_faded_away_does_not_count(tmp_path: Path) -> None:
    data = wanderers(0, wander=True)
    params = MfParams(dimension=16, regularization=0.01, half_life_events=1.0)
    retriever = MfRetriever(params, data.catalogue)
    retriever.fit(data, FitContext(device="cpu", threads=1))
    histories = data.histories.select(np.arange(20, dtype=np.int64))
    times = np.full(20, 10**6, np.int64)
    whole = retriever.retrieve(Queries.of(histories, times), 5)
    recent = retriever.retrieve(Queries.of(histories.last(8), times), 5)
    np.testing.assert_array_equal(whole.items, recent.items)
    np.testing.assert_allclose(whole.scores, recent.scores, rtol=1e-5)
    retriever.save(tmp_path)
    loaded = MfRetriever(params, data.catalogue)
    loaded.load(tmp_path)
    np.testing.assert_array_equal(loaded.retrieve(Queries.of(histories, times), 5).items, whole.items)
