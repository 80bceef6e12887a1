from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_mf.ials import Objective
from recserve_mf.model import Model
from recserve_mf.selection import (
    DEFAULT,
    MIN_USERS,
    REGULARIZATIONS,
    Validation,
    choose_regularization,
)
from recserve_mf.training import default_dimension

from recserve import Catalogue, Dataset, Vocabulary


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
        model = Model(column, np.ones(5, np.bool_), Objective(0.1, 0.1, 1.0), 1.0, 1.0)
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
