"""The reranker on a tiny BERT: what it learns, when it keeps the order, and what a bundle keeps of it."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from recserve_cross_encoder.engines import OnnxPairs
from recserve_cross_encoder.learnt import LearntPairs
from recserve_cross_encoder.parameters import CrossEncoderParams
from recserve_cross_encoder.reranker import CrossEncoderReranker

from recserve import BundleError, Candidates, ConfigError, Histories, Queries, RankingExamples
from recserve.testing import check_reranker
from tests.support.cross_encoder import TINY_SETTINGS

K = 12


def params(tiny, **changes) -> CrossEncoderParams:
    return CrossEncoderParams(model=str(tiny), **{**TINY_SETTINGS, **changes})


def queries(groups: list[int]) -> Queries:
    """Users who have liked three items of one group each."""
    items = np.array([[group, group + 4, group + 8] for group in groups], dtype=np.int32).ravel()
    n = len(items)
    histories = Histories(
        np.arange(0, n + 1, 3),
        items,
        np.zeros(n, dtype=np.int16),
        np.ones(n, dtype=np.float32),
        np.arange(n, dtype=np.int64),
    )
    return Queries.of(histories, np.full(len(groups), n, dtype=np.int64))


def ranked(n: int) -> Candidates:
    """The same list for everybody: three items of each group, in turn."""
    items = np.tile(np.arange(16, 16 + K, dtype=np.int32), (n, 1))
    scores = np.tile(np.linspace(1, 0, K, dtype=np.float32), (n, 1))
    return Candidates(
        items, scores, (), np.empty((n, K, 0), dtype=np.float32), np.full((n, K), -1, dtype=np.int32)
    )


def examples(n: int = 80) -> RankingExamples:
    """Users who then like what is of their group."""
    groups = [row % 4 for row in range(n)]
    labels = (ranked(n).items % 4 == np.array(groups)[:, None]).astype(np.float32)
    return RankingExamples(queries(groups), ranked(n), labels, np.arange(n, dtype=np.int32))


@pytest.fixture(scope="module")
def fitted(tiny, behaviour, context) -> CrossEncoderReranker:
    reranker = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    facts = reranker.fit(behaviour, context())
    assert facts["loss"][1] < facts["loss"][0]
    reranker.fit_candidates(examples(), context())
    return reranker


@pytest.fixture
def saved(fitted, tmp_path):
    fitted.save(tmp_path)
    return tmp_path


def of_own_group(reranker: CrossEncoderReranker, n: int = 8) -> float:
    """Share of the first three places that are of the user's group; a quarter by chance."""
    groups = np.array([row % 4 for row in range(n)])
    order = reranker.rerank(queries(groups.tolist()), ranked(n), 10)
    return float((ranked(n).take(order).items[:, :3] % 4 == groups[:, None]).mean())


def test_it_learns_what_is_liked_after_what(fitted):
    assert fitted.weight > 0
    assert of_own_group(fitted) > 0.6


def test_every_candidate_stays_in_the_list(fitted):
    order = fitted.rerank(queries([0, 1]), ranked(2), 3)
    assert order.dtype == np.int32
    assert np.sort(order, axis=1).tolist() == [list(range(K))] * 2


def test_a_query_is_answered_alike_alone_and_in_a_batch(fitted):
    together = fitted.rerank(queries([0, 1, 2, 3]), ranked(4), 5)
    for row in range(4):
        fresh = pickle.loads(pickle.dumps(fitted))
        assert fresh.rerank(queries([row]), ranked(1), 5).tolist() == together[row : row + 1].tolist()


def test_requests_about_something_else_and_users_without_likes_keep_their_order(fitted):
    asked = replace(queries([0, 1]), anchors=np.array([3, -1], dtype=np.int32))
    order = fitted.rerank(asked, ranked(2), 5)
    assert order[0].tolist() == list(range(K))
    assert order[1].tolist() != list(range(K))
    about = replace(queries([0]), text_vectors=np.ones((1, 4), dtype=np.float32))
    assert fitted.rerank(about, ranked(1), 5).tolist() == [list(range(K))]
    histories = queries([0]).histories
    disliked = Queries.of(replace(histories, weights=-histories.weights), np.zeros(1, dtype=np.int64))
    assert fitted.rerank(disliked, ranked(1), 5).tolist() == [list(range(K))]


def test_items_that_came_after_training_are_skipped(fitted):
    histories = queries([0]).histories
    later = Queries.of(
        replace(histories, items=np.array([0, 4, 40], dtype=np.int32)), np.zeros(1, dtype=np.int64)
    )
    given = ranked(1)
    given.items[0, 1] = 41
    order = fitted.rerank(later, given, 5)
    assert sorted(order[0].tolist()) == list(range(K))


def test_scores_are_computed_once(fitted, monkeypatch):
    fresh = pickle.loads(pickle.dumps(fitted))
    computed = []
    once = OnnxPairs.scores
    monkeypatch.setattr(
        OnnxPairs,
        "scores",
        lambda self, feed: computed.append(len(feed["input_ids"])) or once(self, feed),
    )
    first = fresh.rerank(queries([0, 1]), ranked(2), 5)
    assert sum(computed) == 2 * K
    assert fresh.rerank(queries([0, 1]), ranked(2), 5).tolist() == first.tolist()
    assert sum(computed) == 2 * K


def test_equal_fits_save_equal_bytes_and_what_is_saved_ranks_alike(
    tiny, behaviour, saved, fitted, tmp_path, context
):
    again = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    again.fit(behaviour, context(previous={"weight": fitted.weight}))
    other = tmp_path / "again"
    other.mkdir()
    again.save(other)
    names = {path.name for path in saved.iterdir() if path.is_file()}
    assert {"weights.safetensors", "graph.npy", "pairs.json", "blend.json"} <= names
    for name in names:
        assert (saved / name).read_bytes() == (other / name).read_bytes(), name
    loaded = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    loaded.load(saved)
    expected = fitted.rerank(queries([0, 1, 2, 3]), ranked(4), 5)
    assert loaded.rerank(queries([0, 1, 2, 3]), ranked(4), 5).tolist() == expected.tolist()


def test_eight_bits_score_as_full_precision_does(fitted, behaviour, tiny):
    assert fitted.learnt is not None
    full = replace(fitted.learnt, graph=None).engine(fitted._params)
    eight = fitted.learnt.engine(fitted._params)
    assert isinstance(eight, OnnxPairs)
    pairs = fitted.learnt.texts.pairs(np.array([0, 4], dtype=np.int32), np.arange(40, dtype=np.int32))
    feed = fitted.learnt.texts.feed([pair for pair in pairs if pair is not None])
    assert np.corrcoef(full.scores(feed), eight.scores(feed))[0, 1] > 0.98


def test_torch_serves_the_trained_weights(tiny, behaviour, tmp_path, context):
    settings = params(tiny, engine="torch", weight=0.9)
    reranker = CrossEncoderReranker(settings, behaviour.catalogue)
    assert reranker.fit(behaviour, context())["engine"] == "torch"
    reranker.save(tmp_path)
    assert not (tmp_path / "graph.npy").exists()
    loaded = CrossEncoderReranker(settings, behaviour.catalogue)
    loaded.load(tmp_path)
    assert of_own_group(loaded) > 0.6
    expected = reranker.rerank(queries([0, 1]), ranked(2), 5)
    assert loaded.rerank(queries([0, 1]), ranked(2), 5).tolist() == expected.tolist()
    moved = CrossEncoderReranker(settings, behaviour.catalogue)
    (tmp_path / "blend.json").write_text('{"base": "other", "weight": 0.5}')
    with pytest.raises(BundleError, match="trained on another model"):
        moved.load(tmp_path)


def test_what_helps_nobody_is_neither_trained_again_nor_kept(tiny, behaviour, tmp_path, context):
    reranker = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    assert reranker.fit(behaviour, context(previous={"weight": 0.0})) == {"weight": 0.0}
    reranker.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["blend.json"]
    loaded = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    loaded.load(tmp_path)
    assert loaded.weight == 0
    assert loaded.rerank(queries([0]), ranked(1), 5).tolist() == [list(range(K))]


def test_without_held_out_queries_the_list_stays_as_it_is(tiny, behaviour, context):
    reranker = CrossEncoderReranker(params(tiny, examples=20, epochs=1), behaviour.catalogue)
    assert reranker.fit(behaviour, context())["weight"] == 0
    few = examples(4)
    assert reranker.fit_candidates(few, context())["weight"] == 0


def test_a_catalogue_without_texts_is_left_alone(tiny, behaviour, context):
    reranker = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    facts = reranker.fit(behaviour, context(item_texts=lambda: [""] * 40))
    assert facts == {"weight": 0.0, "why": "no item has a text"}


def test_a_ready_cross_encoder_is_used_as_it_is(behaviour, classifier, context):
    reranker = CrossEncoderReranker(params(classifier(1), weight=1.0, engine="torch"), behaviour.catalogue)
    facts = reranker.fit(behaviour, context())
    assert "loss" not in facts
    assert reranker.learnt is not None
    assert not reranker.learnt.state.weights
    order = reranker.rerank(queries([0]), ranked(1), 5)
    assert order.tolist() != [list(range(K))]


def test_eight_bits_that_lose_too_much_are_refused_or_left(tiny, behaviour, monkeypatch, caplog, context):
    from recserve_cross_encoder import learnt

    monkeypatch.setattr(learnt, "LEAST_CORRELATION", 1.1)
    quick = {"examples": 20, "epochs": 1}
    with pytest.raises(ConfigError, match="use 'torch'"):
        CrossEncoderReranker(params(tiny, engine="onnx", **quick), behaviour.catalogue).fit(
            behaviour, context()
        )
    facts = CrossEncoderReranker(params(tiny, **quick), behaviour.catalogue).fit(behaviour, context())
    assert facts["engine"] == "torch"
    assert "stays with torch" in caplog.text


def test_a_damaged_bundle_is_refused(tiny, behaviour, saved):
    loaded = CrossEncoderReranker(params(tiny), behaviour.catalogue)
    np.save(saved / "graph.npy", np.zeros(10, dtype=np.uint8))
    with pytest.raises(BundleError, match="not run by ONNX Runtime"):
        loaded.load(saved)
    (saved / "blend.json").write_text("[]")
    with pytest.raises(BundleError, match=r"blend\.json cannot be read"):
        loaded.load(saved)


def test_contract(tiny):
    quick = params(tiny, weight=0.5, examples=40, epochs=1, engine="torch")
    check_reranker("cross_encoder", **quick.model_dump())


def test_progress_names_the_loss(tiny, behaviour, context):
    said = []
    told = context(progress=lambda description, done, total: said.append((description, done, total)))
    quick = params(tiny, examples=32, epochs=1, engine="torch")
    CrossEncoderReranker(quick, behaviour.catalogue).fit(behaviour, told)
    assert said[-1][1:] == (2, 2)
    assert said[-1][0].startswith("pairs, loss ")


def test_it_travels_between_processes_without_the_loaded_model(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert isinstance(again.learnt, LearntPairs)
    assert of_own_group(again) == of_own_group(fitted)
