"""The choice between the ranker's order, fused ones and each single retriever's."""

from __future__ import annotations

import numpy as np
import pytest

from recserve.data.arrays import Float64Array
from recserve.data.batches import Retrieved
from recserve.evaluation.splits import Split
from recserve.serving.stages.fusion import merge
from recserve.training.selection.orders import BELOW, HeldOutQueries, choose_order
from recserve.training.selection.validation import validation_split
from tests.support.interactions import made_up_data

WIDTH = 50


@pytest.fixture(scope="module")
def split() -> Split:
    return validation_split(made_up_data(), 0.1)


def lists(split: Split, hits: float, seed: int) -> Retrieved:
    """Random lists with each answer at a random place of the first ten, with a probability."""
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(split.n_items)[:WIDTH] for _ in range(len(split))]).astype(np.int32)
    for query in range(len(split)):
        answers = split.relevant.values[slice(*split.relevant.offsets[query : query + 2])]
        for answer in answers[rng.random(len(answers)) < hits]:
            row = np.concatenate([[answer], items[query][items[query] != answer]])
            items[query] = np.insert(row[1:], rng.integers(0, 10), row[0])[:WIDTH]
    return Retrieved.of(items, np.tile(np.arange(WIDTH, 0, -1, dtype=np.float32), (len(split), 1)))


def held_out(split: Split, **hits: float) -> HeldOutQueries:
    found = {name: lists(split, share, seed) for seed, (name, share) in enumerate(hits.items())}
    return HeldOutQueries(split, found, dict.fromkeys(hits, 1.0))


def test_fused_orders_are_those_that_serve(split: Split) -> None:
    queries = held_out(split, first=0.5, second=0.3)
    for weights in (
        {"first": 1.0, "second": 1.0},
        {"first": 1.0, "second": BELOW},
        {"first": 0.25, "second": 2.0},
    ):
        served = merge(queries.found, weights, 2 * WIDTH)
        expected = np.sort(served.scores, axis=1)[:, ::-1][:, :20]
        fused = queries.fused(weights)
        place = np.argmax(served.items[:, None, :] == fused[:, :, None], axis=2)
        assert np.allclose(np.take_along_axis(served.scores, place, axis=1), expected)
    only = queries.fused({"first": 1.0, "second": BELOW})
    assert np.array_equal(only, queries.found["first"].items[:, :20])


def test_a_retriever_that_noise_would_ruin_serves_alone(split: Split) -> None:
    order = choose_order(held_out(split, good=0.8, noise=0.0, other=0.0))
    assert order is not None
    assert order.weights["good"] > 4 * max(order.weights["noise"], order.weights["other"])


def test_retrievers_that_complete_each_other_are_fused(split: Split) -> None:
    order = choose_order(held_out(split, one=0.5, other=0.5))
    assert order is not None
    assert order.facts["serves"].startswith("fused")


@pytest.mark.parametrize("better", [True, False])
def test_the_ranker_orders_only_if_it_is_better(split: Split, better: bool) -> None:
    queries = held_out(split, good=0.7, noise=0.0)
    best = queries.per_user(queries.fused({"good": 1.0, "noise": BELOW}))
    ranked: Float64Array = np.clip(best + (0.1 if better else -0.1), 0, 1)
    order = choose_order(queries, ranked)
    assert order is not None
    assert order.ranked is better
    low, high = order.facts["ranked_over_best_other"]["ndcg@10"]["ci95"]
    assert (low > 0) if better else (high < 0)
    assert choose_order(queries, ranked) == order


def test_a_better_start_does_not_buy_a_worse_list(split: Split) -> None:
    queries = held_out(split, good=0.7, noise=0.0)
    ranked = queries.per_user(queries.fused({"good": 1.0, "noise": BELOW})) + np.array([0.1, -0.1])
    order = choose_order(queries, ranked)
    assert order is not None
    assert not order.ranked


def test_few_users_decide_nothing(split: Split) -> None:
    few = split.take(np.arange(10))
    assert choose_order(held_out(few, good=0.8, noise=0.0)) is None
    assert choose_order(held_out(split, only=0.5)) is None


@pytest.mark.parametrize("width", [0, 5])
def test_a_retriever_that_finds_nothing_changes_nothing(split: Split, width: int) -> None:
    """What answers texts alone has nothing to say about histories."""
    alone = held_out(split, first=0.5)
    items = np.full((len(split), width), -1, dtype=np.int32)
    nothing = Retrieved.of(items, np.full(items.shape, -np.inf, dtype=np.float32))
    both = HeldOutQueries(split, {**alone.found, "words": nothing}, {"first": 1.0, "words": 1.0})
    assert np.array_equal(both.fused({"first": 1.0, "words": 1.0}), alone.found["first"].items[:, :20])
    order = choose_order(both)
    assert order is not None
    assert order.weights == {"first": 1.0, "words": BELOW}
    assert set(order.facts["ndcg@10"]) == {"first"}, "what finds nothing has no figure"
