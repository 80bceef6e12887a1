"""The ranker ``deepfm``: its network, determinism, damaged bundles, and a machine without torch."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from recserve_features.deepfm import ranker as module
from recserve_features.deepfm.network import Network, Shape
from recserve_features.deepfm.ranker import DeepFm
from recserve_features.parameters import DeepFmParams

from recserve import BundleError, ConfigError, FitContext
from recserve.testing import example_dataset, one_query

SHAPE = Shape((4, 3, 6), 5, (8, 4))


def random_network(seed: int = 0) -> Network:
    return Network(SHAPE, np.random.default_rng(seed).normal(size=SHAPE.size).astype(np.float32))


def test_scores_are_those_of_the_papers_formula() -> None:
    network = random_network()
    linear, embeddings, first, first_bias, second, second_bias, last, last_bias = (
        torch.from_numpy(array.copy()) for array in network.arrays()
    )
    entries = np.array([[0, 4, 7], [3, 6, 12], [1, 5, 9]], dtype=np.int32)
    chosen = torch.from_numpy(entries).long()
    vectors = embeddings[chosen]
    pairs = sum((vectors[:, a] * vectors[:, b]).sum(dim=1) for a in range(3) for b in range(a + 1, 3))
    units = torch.relu(vectors.flatten(1) @ first + first_bias)
    units = torch.relu(units @ second + second_bias)
    expected = linear[chosen].sum(dim=1) + pairs + (units @ last + last_bias)[:, 0]
    np.testing.assert_allclose(network.scores(entries), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_the_rest_of_the_batch() -> None:
    network = random_network()
    rng = np.random.default_rng(1)
    entries = np.stack([rng.integers(low, high, 5000) for low, high in ((0, 4), (4, 7), (7, 13))], axis=1)
    together = network.scores(entries.astype(np.int32))
    for size in (1, 7, 100, 4999):
        apart = network.scores(entries[:size].astype(np.int32))
        np.testing.assert_allclose(apart, together[:size], rtol=1e-5, atol=1e-5)
    assert network.scores(entries[:0].astype(np.int32)).shape == (0,)


def test_queries_score_alike_alone_and_together(made_up: Any) -> None:
    data = example_dataset()
    taught = made_up.examples(data, made_up.at_weekends)
    ranker, _ = made_up.learnt("deepfm", data, taught)
    together = ranker.score(taught.queries, taught.candidates)
    for size in (1, 3, 64):
        part = ranker.score(taught.queries.part(0, size), taught.candidates.of_queries(slice(0, size)))
        np.testing.assert_allclose(part, together[:size], rtol=1e-5, atol=1e-5)
    alone = ranker.score(one_query(taught.queries, 9), taught.candidates.of_queries(slice(9, 10)))
    np.testing.assert_allclose(alone[0], together[9], rtol=1e-5, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    features=arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.just(4)),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_whatever_features_say_scores_are_finite(features: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    learnt = rng.normal(size=(200, 4)).astype(np.float32)
    encoding = module.Encoding.learnt(learnt.round(1), learnt[:, 0] > 1, [2], 8, 5)
    shape = Shape(tuple(field.size for field in encoding.fields), 3, (4,))
    network = Network(shape, rng.normal(size=shape.size).astype(np.float32))
    assert np.isfinite(network.scores(encoding.entries(features))).all()


def test_equal_seeds_give_equal_bytes_and_others_do_not(made_up: Any, tmp_path: Path) -> None:
    data = example_dataset()
    written = []
    for place, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(place)
        folder.mkdir()
        taught = made_up.examples(data, made_up.at_weekends, 60)
        made_up.learnt("deepfm", data, taught, seed=seed, epochs=2)[0].save(folder)
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]
    assert written[0]["network.npy"] != written[2]["network.npy"]


def test_epochs_are_chosen_on_users_held_out(made_up: Any) -> None:
    data, reported = example_dataset(), []
    built = made_up.ranker("deepfm", data, epochs=None, max_epochs=8)
    built.fit(data, FitContext(threads=1))
    context = FitContext(
        threads=1, device="cpu", validated=lambda step, score: reported.append((step, score))
    )
    facts = built.fit_candidates(made_up.examples(data, made_up.at_weekends), context)
    best = facts["validation"][str(facts["epochs"])]
    assert 1 <= facts["epochs"] <= 8
    assert best["loss"] < facts["validation"]["0"]["loss"] - 0.3
    assert dict(reported)[facts["epochs"]] == pytest.approx(best["ndcg@10"], abs=1e-5)


def test_where_nothing_can_be_learnt_the_order_to_start_from_stays(made_up: Any) -> None:
    data = example_dataset()
    noise = np.random.default_rng(3)

    def first_ones(queries: Any, topics: np.ndarray) -> np.ndarray:
        return noise.random(topics.shape) < 0.6 / (1 + np.arange(topics.shape[1]))

    taught = made_up.examples(data, first_ones)
    ranker, facts = made_up.learnt("deepfm", data, taught, epochs=None, max_epochs=10)
    assert facts["epochs"] == 0
    assert facts["weights"] == 0
    scores = ranker.score(taught.queries, taught.candidates)
    assert (np.diff(scores, axis=1) < 0).all(), "the retriever's order"
    final = made_up.ranker("deepfm", data)
    final.fit(data, FitContext(previous=facts, device="cpu"))
    np.testing.assert_array_equal(final.score(taught.queries, taught.candidates), scores)


def test_a_damaged_network_is_refused(made_up: Any, tmp_path: Path) -> None:
    data = example_dataset()
    ranker, _ = made_up.learnt("deepfm", data, made_up.examples(data, made_up.at_weekends, 60), epochs=1)
    ranker.save(tmp_path)
    file, facts = tmp_path / "network.npy", json.loads((tmp_path / "features.json").read_text())
    flat = np.load(file)
    fresh = made_up.ranker("deepfm", data)
    for damaged, message in (
        (flat[:, :-1], "the network has"),
        (np.where(np.arange(flat.size) == 3, np.nan, flat).astype(np.float32), "not finite"),
    ):
        np.save(file, damaged)
        with pytest.raises(BundleError, match=message):
            fresh.load(tmp_path)
    np.save(file, flat)
    for changed, message in (
        ({"encoding": facts["encoding"][1:]}, "features does not fit"),
        ({"sizes": None}, "sizes are missing"),
    ):
        (tmp_path / "features.json").write_text(json.dumps({**facts, **changed}))
        with pytest.raises(BundleError, match=message):
            fresh.load(tmp_path)
    file.unlink()
    with pytest.raises(BundleError, match=r"network\.npy"):
        fresh.load(tmp_path)


def test_without_torch_a_fit_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = example_dataset()
    monkeypatch.setattr(
        module, "find_spec", lambda name: None if name == "torch" else importlib.util.find_spec(name)
    )
    with pytest.raises(ConfigError, match=r"pip install 'recserve-features\[deepfm\]'") as raised:
        DeepFm(DeepFmParams(), data.catalogue).fit(data, FitContext())
    assert "\n" not in str(raised.value)


def test_scoring_needs_no_torch() -> None:
    code = """
import sys
import numpy as np
from recserve_features.deepfm.network import Network, Shape
from recserve_features.deepfm.ranker import DeepFm
shape = Shape((4, 3), 2, (3,))
scores = Network(shape, np.ones(shape.size, np.float32)).scores(np.array([[0, 5]], np.int32))
sys.exit(int("torch" in sys.modules or not scores.all()))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_weights_that_never_learnt_say_nothing(made_up: Any) -> None:
    data = example_dataset()
    taught = made_up.examples(data, made_up.at_weekends)
    ranker, _ = made_up.learnt("deepfm", data, taught)
    assert isinstance(ranker, DeepFm)
    assert ranker._network is not None
    linear, embeddings = ranker._network.arrays()[:2]
    met = np.zeros(len(linear), dtype=bool)
    rows = ranker.features(taught.queries, taught.candidates)[taught.candidates.items >= 0]
    met[np.unique(ranker._encoding.entries(rows))] = True
    assert not met.all()
    assert not linear[~met].any()
    assert not embeddings[~met].any()
    assert embeddings[met].any()
    unknown = replace(taught.queries, contexts=())
    assert np.isfinite(ranker.score(unknown, taught.candidates)).all()
