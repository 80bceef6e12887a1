"""The choice of settings by validation: split, budget, determinism and what it is worth."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_mf import selection
from recserve_mf.cost import Size
from recserve_mf.model import Model
from recserve_mf.parameters import MfParams
from recserve_mf.ranking import ndcg
from recserve_mf.retriever import MfRetriever
from recserve_mf.selection import (
    DEFAULT_RATIO,
    DEFAULT_STRENGTH,
    FEWEST_TRIES,
    MOST_REFINEMENTS,
    MOST_TRIES,
    RATIOS,
    TRIAL_ITERATIONS,
    TRIAL_STEPS,
    Search,
    Steps,
)
from recserve_mf.solver.fold_in import FoldIn
from recserve_mf.solver.ials import Objective, Problem
from recserve_mf.training import default_dimension

from recserve import (
    Catalogue,
    Dataset,
    FitContext,
    Histories,
    Queries,
    Validation,
    Vocabulary,
    ndcg_of,
)

CONTEXT = FitContext(device="cpu", threads=1)


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


def noisy_neighbourhoods(seed: int, local_share: float = 0.5, skew: int = 3) -> tuple[Dataset, Histories]:
    """Likes without times of 700 users in 60 neighbourhoods of items, the others on what is popular.

    Returns:
        Four fifths of each user's likes, and the others.
    """
    generator = np.random.default_rng(seed)
    n_users, n_items, n_likes = 700, 1800, 20
    local = generator.integers(0, 60, n_users)[:, None] * 30 + generator.integers(0, 30, (n_users, n_likes))
    popular = (n_items * generator.random((n_users, n_likes)) ** skew).astype(np.int64)
    items = np.where(
        generator.random((n_users, n_likes)) < local_share, local, generator.permutation(n_items)[popular]
    )
    users = np.repeat(np.arange(n_users), n_likes)
    flat = items.reshape(-1)
    _, first = np.unique(users * n_items + flat, return_index=True)
    users, flat = users[first], flat[first]
    order = generator.permutation(len(users))
    whole = Dataset(
        Catalogue([f"{row:04}" for row in range(n_items)]),
        Vocabulary(f"{row:04}" for row in range(n_users)),
        users[order].astype(np.int32),
        flat[order].astype(np.int32),
        np.zeros(len(users), np.int16),
        np.ones(len(users), np.float32),
        np.zeros(len(users), np.int64),
        ("view",),
    )
    test = generator.random(len(whole)) < 0.2
    return whole.where(~test), whole.where(test).histories


def test_ndcg_is_that_of_the_full_ranking_with_exactly_folded_in_users() -> None:
    data, targets = noisy_neighbourhoods(1)
    retriever = MfRetriever(MfParams(dimension=16, regularization=0.01, half_life_events=0.0), data.catalogue)
    retriever.fit(data, CONTEXT)
    model = retriever.model
    fold_in = FoldIn(model)
    users, _ = fold_in.solve(fold_in.liked(data.histories))
    scores = users @ model.items.T
    scores[:, ~model.trained] = -np.inf
    scores[data.histories.owners(), data.histories.items] = -np.inf
    relevant = np.zeros(scores.shape, dtype=np.bool_)
    relevant[targets.owners(), targets.items] = True
    relevant &= np.isfinite(scores)
    expected = float(ndcg_of(scores, relevant, 20).mean())
    assert ndcg(model, data.histories, targets, threads=2) == pytest.approx(expected, abs=2e-4)


def test_ndcg_is_one_for_an_oracle_and_ignores_items_of_the_history() -> None:
    def histories(*items: int) -> Histories:
        count = len(items)
        return Histories(
            np.array([0, count]),
            np.array(items, np.int32),
            np.zeros(count, np.int16),
            np.ones(count, np.float32),
            np.arange(count),
        )

    def worth(*factors: float) -> float:
        column = np.array(factors, dtype=np.float32)[:, None]
        blank = Model.empty(5, 1, Objective(0.1, 0.1, 1.0))
        model = replace(blank, items=column, trained=np.ones(5, np.bool_))
        # In one dimension a larger factor ranks higher; liking what was liked before is no success.
        return ndcg(model, histories(0, 1), histories(2, 2, 1), threads=2)

    assert worth(9, 8, 7, 1, 1) == pytest.approx(1.0)
    assert worth(9, 8, 1, 7, 6) == pytest.approx(1 / np.log2(4))


def test_the_split_suits_the_data() -> None:
    settled, moving = wanderers(0, wander=False), wanderers(0, wander=True)
    params = MfParams(dimension=16)
    random = MfRetriever(params, settled.catalogue).fit(settled, CONTEXT)
    newest = MfRetriever(params, moving.catalogue).fit(moving, CONTEXT)
    assert random["validation"]["split"] == "random"
    assert random["validation"]["half_lives"] == {}
    assert random["half_life_events"] == 0.0
    assert newest["validation"]["split"] == "newest"
    assert len(newest["validation"]["half_lives"]) >= 2


def search_of(data: Dataset, params: MfParams, dimension: int, size: Size | None = None) -> Search:
    validation = Validation.of(data, 0)
    problem = Problem.of(data, 1.0)
    assert validation is not None
    assert problem is not None
    return Search(validation, params, CONTEXT, dimension, size or Size.of(problem))


@pytest.mark.parametrize("share", [0.7, 1.0, 3.0])
def test_the_search_stays_within_its_share_of_the_final_fit(share: float) -> None:
    """Counted work, as if the data were a thousand times as large as what is fitted."""
    data, _ = noisy_neighbourhoods(0)
    params = MfParams(search_share=share)
    size = Size(pairs=10_000_000, users=1_000_000, items=20_000)
    search = search_of(data, params, 256, size)
    search.settings()
    assert FEWEST_TRIES <= len(search.fits) <= MOST_TRIES + 2 * MOST_REFINEMENTS + 4
    full = [int(fit["dimension"]) for fit in search.fits if fit["iterations"] == params.iterations]
    assert len(full) in (0, 2), "one comparison with the usual settings"
    assert all(dimension <= 256 for dimension in full)
    trials = [int(fit["dimension"]) for fit in search.fits if fit["iterations"] == TRIAL_ITERATIONS]
    spent = sum(
        size.fit(dimension, TRIAL_ITERATIONS, TRIAL_STEPS) + size.ranking(700, dimension)
        for dimension in trials
    )
    assert spent <= share * size.fit(256, params.iterations, params.cg_steps)
    assert trials[0] == min(trials)
    assert trials[0] <= 64, "large data are searched with narrow factors first"


@pytest.mark.parametrize(("usual", "given_up"), [(0.25, True), (0.204, False)])
def test_what_short_fits_favour_gives_way_to_usual_settings_that_are_clearly_better(
    usual: float, given_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = noisy_neighbourhoods(0)
    iterations: list[int] = []
    fit = selection.factorise

    def counted(*arguments: Any) -> Any:
        iterations.append(arguments[5])
        return fit(*arguments)

    def score(model: Model, *_: Any) -> float:
        at_start = model.objective.regularization == pytest.approx(DEFAULT_STRENGTH / (1 + DEFAULT_RATIO))
        return (usual if iterations[-1] > TRIAL_ITERATIONS else 0.1) if at_start else 0.2

    monkeypatch.setattr(selection, "factorise", counted)
    monkeypatch.setattr(selection, "ndcg", score)
    chosen = search_of(data, MfParams(half_life_events=0), 64).settings()
    assert (chosen.unobserved_ratio == DEFAULT_RATIO) == given_up


def test_small_data_are_searched_with_wide_factors() -> None:
    data, _ = noisy_neighbourhoods(0)
    search = search_of(data, MfParams(search_share=1e-6), 64)
    search.settings()
    assert search.fits[0]["dimension"] == 32


def test_without_a_share_constants_are_taken() -> None:
    data, _ = noisy_neighbourhoods(0)
    facts = MfRetriever(MfParams(search_share=0), data.catalogue).fit(data, CONTEXT)
    assert "validation" not in facts
    assert facts["unobserved_ratio"] == 8.0


def test_the_choice_is_the_same_for_a_seed_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    data, _ = noisy_neighbourhoods(0)
    with caplog.at_level(logging.INFO):
        first, again = (
            MfRetriever(MfParams(), data.catalogue).fit(data, replace(CONTEXT, threads=threads))
            for threads in (1, 2)
        )
    assert first == again
    best = max(first["validation"]["fits"], key=lambda fit: fit["dimension"] * 10 + fit["ndcg@20"])
    assert best["unobserved_ratio"] == first["unobserved_ratio"]
    assert f"unobserved_ratio {first['unobserved_ratio']:g}" in caplog.text
    assert "random hold-out of 700 users" in caplog.text


def test_what_is_configured_is_not_searched() -> None:
    data, _ = noisy_neighbourhoods(0)
    search = search_of(data, MfParams(unobserved_ratio=3.0), 32)
    chosen = search.settings()
    assert {fit["unobserved_ratio"] for fit in search.fits} == {3.0}
    assert chosen.unobserved_ratio == 3.0
    assert len({fit["regularization"] for fit in search.fits}) > 1
    facts = MfRetriever(MfParams(regularization=0.02), data.catalogue).fit(data, CONTEXT)
    assert (facts["regularization"], facts["unobserved_ratio"]) == (0.02, 8.0)


def test_without_times_the_choice_beats_one_along_the_regularization_alone() -> None:
    """The earlier default: the weight of unobserved pairs fixed, lambda on a grid, newest events held out."""
    data, targets = noisy_neighbourhoods(2, local_share=0.3, skew=6)

    def worth(params: MfParams) -> float:
        retriever = MfRetriever(params, data.catalogue)
        retriever.fit(data, CONTEXT)
        return ndcg(retriever.model, data.histories, targets, threads=1)

    chosen = worth(MfParams())
    grid = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)
    alone = max(worth(MfParams(regularization=value, half_life_events=0.0)) for value in grid)
    assert chosen > 1.05 * alone


def test_ratios_reach_far_to_both_sides() -> None:
    assert RATIOS[0] < 1 < 100 < RATIOS[-1]


def test_the_default_dimension_grows_with_the_smaller_side_within_bounds() -> None:
    assert default_dimension(dataset(0, n_users=2, n_events=20)) == 16
    assert default_dimension(dataset(0)) == 16
    large = dataset(0, n_users=700, n_events=40_000, n_items=900)
    assert default_dimension(large) == 128
    nothing = large.where(np.zeros(len(large), dtype=np.bool_))
    assert default_dimension(nothing) == 16


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.sampled_from([20, 8000]))
def test_steps_are_held_out_events_with_all_that_came_before(seed: int, count: int) -> None:
    data = dataset(seed).positive()
    whole = data.histories.select(np.flatnonzero(data.histories.lengths >= 3))
    steps = Steps.of(whole, whole.lengths - 2, count)
    assert (steps.targets.lengths == 1).all()
    assert len(steps.histories) == len(steps.targets) == min(count, 2 * len(whole))
    everything = {
        tuple(data.histories.select(np.array([user])).items.tolist()) for user in range(data.n_users)
    }
    for row in range(len(steps.targets)):
        past = slice(*steps.histories.offsets[row : row + 2])
        read = (*steps.histories.items[past].tolist(), int(steps.targets.items[row]))
        assert any(full[: len(read)] == read for full in everything), "a user's own events, from the first on"


def test_old_events_fade_where_tastes_move_on_and_only_there() -> None:
    params = MfParams(dimension=16, regularization=0.01)
    moving = MfRetriever(params, wanderers(0, wander=True).catalogue)
    assert moving.fit(wanderers(0, wander=True), CONTEXT)["half_life_events"] in (1.5, 3.0, 6.0)
    settled = MfRetriever(params, wanderers(0, wander=False).catalogue)
    assert settled.fit(wanderers(0, wander=False), CONTEXT)["half_life_events"] == 0
    told = params.model_copy(update={"half_life_events": 2.0})
    facts = MfRetriever(told, wanderers(0, wander=False).catalogue).fit(wanderers(0, wander=False), CONTEXT)
    assert facts["half_life_events"] == 2.0
    again = MfRetriever(params, wanderers(0, wander=False).catalogue)
    prior = FitContext(device="cpu", threads=1, previous={"half_life_events": 12.0})
    assert again.fit(wanderers(0, wander=False), prior)["half_life_events"] == 12.0


def test_what_faded_away_does_not_count(tmp_path: Path) -> None:
    data = wanderers(0, wander=True)
    params = MfParams(dimension=16, regularization=0.01, half_life_events=1.0)
    retriever = MfRetriever(params, data.catalogue)
    retriever.fit(data, CONTEXT)
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
