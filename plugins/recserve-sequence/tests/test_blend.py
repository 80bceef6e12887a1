"""The blend of sequence score and retrieval, and the sampled losses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_bert_lstm.model import BertLstm
from recserve_bert_lstm.network import LstmNetwork
from recserve_bert_lstm.parameters import BertLstmParams
from recserve_sequence.blend import Blend, Signals, standardise
from recserve_sequence.network import Shape, blank
from recserve_sequence.predictor import Server
from recserve_sequence.training.losses import MASKED, NegativeSampler, bce_loss, softmax_loss
from recserve_sequence.training.validation import hold_out
from recserve_sequence.windows import TrainingWindows, gap_buckets, shuffle_ties

from recserve import (
    BundleError,
    Candidates,
    Catalogue,
    Dataset,
    FitContext,
    Histories,
    Queries,
    Ragged,
    RankingExamples,
    Vocabulary,
    compiled,
)
from recserve.data.system.compilation import compile_kernels


def histories(lists: list[list[int]], weights: list[float] | None = None) -> Histories:
    ragged = Ragged.of(lists)
    n = len(ragged.values)
    signed = np.ones(n, np.float32) if weights is None else np.array(weights, np.float32)
    times = np.array([step for one in lists for step in range(len(one))], dtype=np.int64) * 1000
    return Histories(ragged.offsets, ragged.values, np.zeros(n, np.int16), signed, times)


# --- losses ---------------------------------------------------------------------------------------


def test_sampled_partition_is_unbiased():
    """The corrected sum over the pool has the full sum over all other seen items as its mean."""
    random = np.random.default_rng(0)
    counts = np.array([50, 20, 9, 4, 2, 1, 1, 0, 30, 7])
    logits = random.normal(size=len(counts))
    sampler = NegativeSampler(counts, negatives=6, in_batch=5)
    target = 8
    stream = random.choice(len(counts), (4000, 40), p=counts / counts.sum())
    draws = []
    for batch in stream:
        pool = sampler.pool(batch, random)
        weight = np.exp(logits[pool.items] - pool.log_expected)
        draws.append(weight[pool.items != target].sum())
    others = [row for row in range(len(counts)) if counts[row] and row != target]
    exact = np.exp(logits[others]).sum()
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - exact) < 4 * error
    assert error < 0.03 * exact


def test_full_pool_is_the_exact_softmax():
    torch.manual_seed(0)
    logits = torch.randn(7, 5, dtype=torch.float64)
    targets = torch.randint(0, 5, (7,))
    positive = logits.gather(1, targets[:, None])[:, 0]
    negative = logits.scatter(1, targets[:, None], MASKED)
    loss = softmax_loss(positive, negative)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item(), abs=1e-9)
    assert len(NegativeSampler(np.array([3, 0, 1]), 0, 0).pool(np.array([0]), None).items) == 2


@pytest.mark.parametrize("bce", [False, True])
def test_position_without_negatives_has_a_finite_gradient(bce):
    positive = torch.zeros(2, requires_grad=True)
    negative = torch.full((2, 3), MASKED, requires_grad=True)
    loss = bce_loss(positive, negative) if bce else softmax_loss(positive, negative)
    loss.backward()
    assert torch.isfinite(positive.grad).all()
    assert torch.isfinite(negative.grad).all()


def test_never_seen_items_are_never_negatives():
    counts = np.array([5, 0, 1, 0])
    sampler = NegativeSampler(counts, 50, 3)
    assert set(sampler.pool(np.array([0, 0, 2]), np.random.default_rng(0)).items) == {0, 2}


# --- windows and validation -----------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    window=st.integers(1, 12),
    budget=st.integers(1, 100),
)
def test_every_positive_event_but_the_first_is_a_target_once(lengths, window, budget):
    lists, row = [], 0
    for length in lengths:
        lists.append(list(range(row, row + length)))
        row += length
    weights = [1.0 if value % 5 else -1.0 for one in lists for value in one]
    windows = TrainingWindows(histories(lists, weights), window, row)
    seen: list[int] = []
    for batch in windows.epoch(np.random.default_rng(0), budget):
        assert batch.inputs.items.shape[1] <= window
        assert not (batch.learn & ~batch.inputs.mask).any()
        # Item rows are consecutive: the input of each target is the row before it.
        np.testing.assert_array_equal(batch.targets[batch.learn], batch.inputs.items[batch.learn] + 1)
        seen.extend(batch.targets[batch.learn].tolist())
    assert sorted(seen) == sorted(value for one in lists for value in one[1:] if value % 5)
    assert windows.n_targets == len(seen)


def test_gap_buckets_grow_with_the_logarithm():
    log = histories([[0, 1, 2, 3], [4], []])
    log = dataclasses.replace(log, timestamps=np.array([0, 0, 3000, 3000 + 86_400_000, 5], dtype=np.int64))
    assert gap_buckets(log).tolist() == [0, 1, 3, 17, 0]


def test_ties_in_time_are_shuffled_and_nothing_else():
    log = histories([list(range(40)), [40, 41, 42]])
    assert shuffle_ties(log, np.random.default_rng(0), 43) is log
    tied = dataclasses.replace(log, timestamps=np.array([*[0] * 20, *[5] * 20, 5, 6, 7], np.int64))
    mixed = shuffle_ties(tied, np.random.default_rng(0), 43)
    assert mixed.items[:20].tolist() != list(range(20))
    assert sorted(mixed.items[:20]) == list(range(20))
    assert sorted(mixed.items[20:40]) == list(range(20, 40))
    assert mixed.items[40:].tolist() == [40, 41, 42]
    np.testing.assert_array_equal(mixed.timestamps, tied.timestamps)
    # Rows from 15 on are texts: they stay behind the items of their moment.
    behind = shuffle_ties(tied, np.random.default_rng(0), 15)
    assert sorted(behind.items[:15]) == list(range(15))
    assert sorted(behind.items[15:20]) == list(range(15, 20))


def test_hold_out_takes_last_positives_and_leaks_nothing():
    log = histories([[0, 1, 2, 3, 4], [5, 6], [7, 8, 9, 1]], [1, 1, 1, 1, -1, 1, 1, 1, 1, 1, 1])
    kept, held_out = hold_out(log, 2, np.random.default_rng(0), 10)
    assert held_out.targets.tolist() == [3, 1]
    assert [held_out.queries.items[:3].tolist(), held_out.queries.items[3:].tolist()] == [
        [0, 1, 2],
        [7, 8, 9],
    ]
    assert kept.items.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    # A text, which has a row behind the items, is read and not held out.
    _, held_out = hold_out(histories([[0, 9, 1, 2, 9]]), 1, np.random.default_rng(0), 9)
    assert (held_out.targets.tolist(), held_out.queries.items.tolist()) == ([2], [0, 9, 1])


# --- blend ----------------------------------------------------------------------------------------

K, USERS, N = 30, 150, 200


OWNERS = np.arange(USERS, dtype=np.int32)


def planted(seed: int) -> tuple[Signals, Candidates, np.ndarray, np.ndarray]:
    """Relevance depends on the sequence score and on one retriever, not on the other."""
    random = np.random.default_rng(seed)
    shape = (USERS, K)
    sequence, good, noise = (random.normal(size=shape).astype(np.float32) for _ in range(3))
    utility = sequence + 1.5 * good + random.gumbel(size=shape) * 0.5
    labels = np.zeros(shape, np.float32)
    np.put_along_axis(labels, utility.argmax(axis=1)[:, None], 1.0, axis=1)
    sources = np.stack([100 * good + 7, noise], axis=-1).astype(np.float32)
    items = np.stack([random.permutation(N)[:K] for _ in range(USERS)]).astype(np.int32)
    offered = Candidates(
        items,
        np.broadcast_to(-np.arange(K, dtype=np.float32), shape).copy(),
        ("good", "noise"),
        sources,
        np.full(shape, -1, np.int32),
    )
    signals = Signals(
        sequence,
        random.normal(size=shape).astype(np.float32),
        np.zeros(shape, np.float32),
        np.ones(USERS, np.bool_),
        random.uniform(-0.5, 0.5, USERS).astype(np.float32),
    )
    return signals, offered, labels, sequence


def ndcg(scores: np.ndarray, labels: np.ndarray, k: int = 10) -> float:
    rank = (scores > scores[labels > 0][:, None]).sum(axis=1) + 1
    return float(np.where(rank <= k, 1 / np.log2(rank + 1), 0).mean())


def test_blend_beats_the_sequence_score_alone():
    signals, offered, labels, _ = planted(0)
    blend = Blend.learn(signals, offered, labels, OWNERS, l2=2.0)
    signals, offered, labels, sequence = planted(1)
    assert ndcg(blend.score(signals, offered), labels) > ndcg(sequence, labels) + 0.15


def test_untrained_blend_is_the_sequence_score():
    signals, offered, _, sequence = planted(0)
    scores = Blend.untrained().score(signals, offered)
    np.testing.assert_array_equal(scores.argsort(axis=1), sequence.argsort(axis=1))


def test_blend_is_deterministic_and_survives_json():
    signals, offered, labels, _ = planted(0)
    first, second = (Blend.learn(signals, offered, labels, OWNERS, l2=2.0) for _ in range(2))
    assert first.to_json() == second.to_json()
    again = Blend.from_json(first.to_json())
    np.testing.assert_array_equal(again.score(signals, offered), first.score(signals, offered))
    with pytest.raises(ValueError, match="sources"):
        Blend.from_json({"sources": ["a"], "weights": {"sequence": 1.0}})


def test_missing_and_unknown_sources_are_neutral():
    signals, offered, labels, _ = planted(0)
    blend = Blend.learn(signals, offered, labels, OWNERS, l2=2.0)
    absent = dataclasses.replace(offered, sources=("noise",), source_scores=offered.source_scores[:, :, 1:])
    silent = dataclasses.replace(offered, source_scores=offered.source_scores.copy())
    silent.source_scores[:, :, 0] = np.nan
    extra = dataclasses.replace(
        absent,
        sources=("new", "noise"),
        source_scores=np.stack([offered.source_scores[:, :, 0], absent.source_scores[:, :, 0]], -1),
    )
    scores = blend.score(signals, absent)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores, blend.score(signals, silent))
    np.testing.assert_array_equal(scores, blend.score(signals, extra))


def test_order_of_sources_does_not_matter():
    signals, offered, labels, _ = planted(0)
    swapped = dataclasses.replace(
        offered, sources=("noise", "good"), source_scores=offered.source_scores[:, :, ::-1].copy()
    )
    first = Blend.learn(signals, offered, labels, OWNERS, l2=2.0)
    second = Blend.learn(signals, swapped, labels, OWNERS, l2=2.0)
    assert first.to_json() == second.to_json()


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 7, 60]), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_a_compiled_blend_scores_like_features_times_weights(seed: int, kept: int, cut: int) -> None:
    random = np.random.default_rng(seed)
    shape = (3, kept + cut)

    def numbers() -> np.ndarray:
        # Few values, so that they tie and some features do not vary at all.
        return random.choice([-1.0, 0.0, 0.5, 2.0], shape).astype(np.float32)

    by_source = random.choice([np.nan, -np.inf, 0.25, 1.0, 3.0], (*shape, 2)).astype(np.float32)
    items = random.integers(-1, 50, shape).astype(np.int32)
    fused = np.where(items >= 0, random.random(shape), -np.inf).astype(np.float32)
    whole = Candidates(items, fused, ("b", "x"), by_source, np.full(shape, -1, dtype=np.int32))
    candidates = whole.first(kept)  # views, unless nothing is cut
    known, length = random.random(3) < 0.7, random.uniform(-0.5, 0.5, 3).astype(np.float32)
    signals = Signals(*(numbers()[:, :kept] for _ in range(3)), known, length)
    blend = Blend(("a", "b"), random.standard_normal(13))
    plain = blend.score(signals, candidates)
    compile_kernels()
    try:
        assert compiled("recserve_sequence.kernels") is not None
        fast = blend.score(signals, candidates)
    finally:
        compile_kernels(False)
    valid = candidates.items >= 0
    np.testing.assert_allclose(fast[valid], plain[valid], atol=1e-5)
    assert (fast.dtype, fast.shape) == (plain.dtype, plain.shape)


def test_one_busy_user_does_not_decide_for_all():
    signals, offered, labels, _ = planted(0)
    # Nine in ten examples are of one user, who goes by the other retriever.
    busy = np.arange(USERS) >= USERS // 10
    noise = offered.source_scores[:, :, offered.sources.index("noise")]
    labels[busy] = 0
    labels[busy, noise[busy].argmax(axis=1)] = 1
    owners = np.where(busy, USERS, OWNERS).astype(np.int32)
    fair = Blend.learn(signals, offered, labels, owners, l2=2.0)
    equal = Blend.learn(signals, offered, labels, OWNERS, l2=2.0)
    signals, offered, labels, _ = planted(1)
    assert ndcg(fair.score(signals, offered), labels) > ndcg(equal.score(signals, offered), labels) + 0.1


def test_few_short_histories_do_not_turn_weights_around():
    signals, offered, labels, _ = planted(0)
    # All histories but a few are long: what depends on the length is guessed for short ones.
    length = np.full(USERS, 0.5, np.float32)
    length[:3] = -0.5
    signals = dataclasses.replace(signals, length=length)
    blend = Blend.learn(signals, offered, labels, OWNERS, l2=2.0)
    weights = dict(zip(blend.names(), blend.weights, strict=True))
    assert abs(weights["good.score_long"]) < 0.2 * weights["good.score"]


def test_without_positives_nothing_is_learnt():
    signals, offered, labels, _ = planted(0)
    assert Blend.learn(signals, offered, 0 * labels, OWNERS, l2=2.0).weights[0] == 1.0


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    keep=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_standardise_ignores_what_is_not_valid(values, keep):
    row = np.array([values], dtype=np.float32)
    valid = np.array([keep[: len(values)]])
    poisoned = np.where(valid, row, np.float32(np.nan))
    scaled = standardise(poisoned, valid)
    assert np.isfinite(scaled).all()
    assert (scaled[~valid] == 0).all()
    assert abs(scaled[valid].sum()) < 1e-3
    assert np.abs(scaled).max() <= np.sqrt(len(values)) + 1e-3


# --- through the component ------------------------------------------------------------------------


def component() -> tuple[BertLstm, Dataset]:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((20, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    items = Catalogue([f"i{row}" for row in range(20)], vectors=vectors)
    starts = random.integers(0, 20, 40)
    rows = ((starts[None, :] + np.arange(8)[:, None]) % 20).astype(np.int32).ravel()
    n = len(rows)
    data = Dataset(
        items,
        Vocabulary(f"u{user}" for user in range(40)),
        np.tile(np.arange(40, dtype=np.int32), 8),
        rows,
        np.zeros(n, np.int16),
        np.ones(n, np.float32),
        np.repeat(np.arange(8, dtype=np.int64), 40) * 1000,
        ("view",),
    )
    model = BertLstm(BertLstmParams(width=8, epochs=2, dropout=0.0), items)
    return model, data


def examples(seed: int, data: Dataset) -> RankingExamples:
    """Users follow one retriever, so that the barely trained sequence score is of little use."""
    random = np.random.default_rng(seed)
    items = np.stack([random.permutation(20)[:12] for _ in range(60)]).astype(np.int32)
    score = random.normal(size=items.shape).astype(np.float32)
    labels = np.zeros(items.shape, np.float32)
    np.put_along_axis(labels, score.argmax(axis=1)[:, None], 3.0, axis=1)
    return RankingExamples(
        Queries.of(data.histories.select(np.arange(60) % 40), np.full(60, 10**6)),
        Candidates(items, score, ("mf",), score[:, :, None], np.full(items.shape, -1, np.int32)),
        labels,
        np.arange(60, dtype=np.int32),
    )


def test_fit_candidates_improves_ranking_and_survives_prior_and_bundle(tmp_path):
    model, data = component()
    context = FitContext(seed=0, threads=1, device="cpu")
    facts = dict(model.fit(data, context))
    train, test = examples(1, data), examples(2, data)
    before = ndcg(model.score(test.queries, test.candidates), test.labels)
    facts |= model.fit_candidates(train, context)
    checked = facts["blend_ndcg@10"]
    assert checked["blend"] > checked["sequence"] + 0.2
    assert checked["retrieval"] == 1.0  # the fused order is the planted signal itself
    after = model.score(test.queries, test.candidates)
    assert ndcg(after, test.labels) > before + 0.2

    model.save(tmp_path)
    loaded, _ = component()
    loaded.load(tmp_path)
    np.testing.assert_array_equal(loaded.score(test.queries, test.candidates), after)

    final, _ = component()
    again = final.fit(data, dataclasses.replace(context, previous=facts))
    assert again["blend"] == facts["blend"]
    assert ndcg(final.score(test.queries, test.candidates), test.labels) > before + 0.2


def test_bundle_with_a_foreign_blend_is_refused(tmp_path):
    model, data = component()
    model.fit(data, FitContext(threads=1, device="cpu"))
    model.save(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(path.read_text().replace('"blend": null', '"blend": {"sources": 3}'))
    with pytest.raises(BundleError, match="train again"):
        component()[0].load(tmp_path)


@given(st.integers(0, 10_000), st.sampled_from([1, 7, 80]))
@settings(max_examples=15, deadline=None)
def test_compiled_states_are_those_of_the_network(seed: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    vectors = random.standard_normal((12, 5)).astype(np.float32)
    network = blank(LstmNetwork, Shape(5, 2, 8))
    network.initialise(vectors, generator)
    matrix = random.standard_normal((12, 8)).astype(np.float32)
    catalogue = Catalogue(Vocabulary([str(row) for row in range(12)]), ["{}"] * 12, vectors)
    server = Server(network, matrix, catalogue, 70, 0)
    lists = [random.integers(0, 12, count).tolist() for count in (longest, 0, longest // 2)]
    weights = random.choice([-1.0, 0.5, 9.0], sum(map(len, lists))).tolist()
    queries = Queries.of(histories(lists, weights), np.zeros(3, dtype=np.int64))
    plain, known = server.states(queries)
    compile_kernels()
    try:
        fast, same = server.states(queries)
    finally:
        compile_kernels(False)
    np.testing.assert_array_equal(same, known)
    np.testing.assert_allclose(fast.numpy()[known], plain.numpy()[known], atol=2e-5)
