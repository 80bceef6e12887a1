"""The model as a component: conformance, what it learns, new items, damaged bundles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recserve_bert_sequence.model import BertSequence
from recserve_bert_sequence.parameters import BertSequenceParams

from recserve import (
    BundleError,
    Candidates,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    Histories,
    Queries,
    RecentTexts,
    RecserveError,
    ScoresUsers,
)
from recserve.testing import (
    check_executor,
    check_ranker,
    check_retriever,
    example_candidates,
    example_dataset,
    example_queries,
)

SMALL: dict[str, Any] = {"width": 8, "epochs": 3, "window": 8, "negatives": 16, "batch_events": 200}
TOPICS = 4
"""Of the example data: the item of a row is about topic ``row % 4``, and so is the user."""


def fitted(data: Dataset, **params: Any) -> tuple[BertSequence, dict[str, Any]]:
    model = BertSequence(BertSequenceParams(**{**SMALL, **params}), data.catalogue)
    facts = model.fit(data, FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu"))
    return model, dict(facts)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return example_dataset()


@pytest.fixture(scope="module", params=["softmax", "bce"])
def model(request: pytest.FixtureRequest, data: Dataset) -> BertSequence:
    return fitted(data, loss=request.param, epochs=8)[0]


def users(data: Dataset, *rows: int) -> Queries:
    histories = data.histories.select(np.array(rows, dtype=np.int64))
    return Queries.of(histories, np.full(len(rows), int(data.timestamps[-1]) + 1, dtype=np.int64))


@pytest.mark.parametrize("params", [{}, {"loss": "bce", "layers": 2}])
def test_keeps_the_contract_of_a_ranker(params: dict[str, Any]) -> None:
    check_ranker("bert_sequence", **SMALL, **params)


def test_keeps_the_contract_of_a_retriever() -> None:
    check_retriever("bert_sequence", **SMALL)


@pytest.mark.long
def test_keeps_the_contract_of_an_executor() -> None:
    check_executor("bert_sequence", kind="ranker", **{**SMALL, "epochs": 2, "dropout": 0.0})


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_losses_fall_and_the_validation_is_above_chance(data: Dataset, loss: str) -> None:
    _, facts = fitted(data, loss=loss, epochs=8)
    assert facts["losses"][-1] < facts["losses"][0]
    chance = (1 / np.log2(np.arange(10) + 2)).sum() / data.n_items
    assert max(facts["validation_ndcg@10"]) > 1.5 * chance
    assert facts["epochs"] == 1 + int(np.argmax(facts["validation_ndcg@10"]))


def test_items_of_a_users_own_topic_come_first(model: BertSequence, data: Dataset) -> None:
    queries = replace(users(data, *range(40)), wants_evidence=True)
    found = model.retrieve(queries, 10)
    own = found.items % TOPICS == (np.arange(40) % TOPICS)[:, None]
    assert own.mean() > 0.6
    about = found.evidence % TOPICS == found.items % TOPICS
    assert about[own].mean() > 0.9


def test_order_of_the_history_counts(model: BertSequence, data: Dataset) -> None:
    there = users(data, 0)
    old = there.histories
    turned = Histories(
        old.offsets, old.items[::-1].copy(), old.events[::-1].copy(), old.weights[::-1].copy(), old.timestamps
    )
    candidates = example_candidates(data, there)
    assert not np.allclose(
        model.score(there, candidates), model.score(replace(there, histories=turned), candidates)
    )


def test_a_new_item_is_judged_by_its_text(model: BertSequence, data: Dataset) -> None:
    """A copy of an item is liked as much but for its popularity, and counts in histories as the item does."""
    vectors = data.catalogue.vectors
    assert vectors is not None
    queries = replace(users(data, 1, 2), extra_vectors=vectors[5:6])
    items = np.array([[5, data.n_items]] * 2, dtype=np.int32)
    zeros = np.zeros(items.shape, dtype=np.float32)
    scores = model.score(queries, Candidates(items, zeros, ("x",), zeros[:, :, None], items * 0 - 1))
    apart = scores[:, 0] - scores[:, 1]
    assert abs(apart[0]) < 1.0
    np.testing.assert_allclose(apart[0], apart[1], rtol=1e-3, atol=1e-5)

    old = queries.histories
    read = [
        replace(queries, histories=replace(old, items=np.where(old.items == 5, row, old.items)))
        for row in (5, data.n_items)
    ]
    np.testing.assert_allclose(
        model.score(read[0], example_candidates(data, read[0])),
        model.score(read[1], example_candidates(data, read[0])),
        rtol=1e-4,
        atol=1e-5,
    )


def test_users_are_compared_for_an_item(model: BertSequence, data: Dataset) -> None:
    assert isinstance(model, ScoresUsers)
    queries = users(data, *range(40))
    best = []
    for item in range(TOPICS):
        affinity = model.affinity(queries, item)
        assert affinity.shape == (40,)
        assert affinity.dtype == np.float32
        best.append((np.argsort(-affinity)[:10] % TOPICS == item).mean())
    assert np.mean(best) > 0.7


def test_nothing_is_said_of_users_without_history(model: BertSequence, data: Dataset) -> None:
    queries = Queries.of(Histories.empty(2), np.zeros(2, dtype=np.int64))
    assert np.isneginf(model.affinity(queries, 0)).all()
    assert (model.retrieve(queries, 5).items == -1).all()
    candidates = example_candidates(data, queries)
    real = candidates.items >= 0
    np.testing.assert_array_equal(model.score(queries, candidates)[real], candidates.scores[real])


def test_free_text_moves_the_answer(model: BertSequence, data: Dataset) -> None:
    vectors = data.catalogue.vectors
    assert vectors is not None
    queries = replace(users(data, 0), text_vectors=vectors[3:4])
    assert model.retrieve(queries, 1).items[0, 0] == 3


def test_what_somebody_wrote_is_a_step_of_the_sequence(model: BertSequence, data: Dataset) -> None:
    vectors = data.catalogue.vectors
    assert vectors is not None
    moment = np.zeros(1, dtype=np.int64)
    queries = Queries.of(Histories.empty(1), moment + 1)
    for topic in range(TOPICS):
        ones = np.ones(1, dtype=np.float32)
        wrote = RecentTexts(
            np.array([0, 1]), vectors[topic : topic + 1], moment.astype(np.int16), ones, moment
        )
        found = model.retrieve(replace(queries, recent_texts=wrote), 10)
        assert (found.items % TOPICS == topic).mean() > 0.6


def test_a_final_fit_makes_as_many_epochs_as_the_first_was_best_with(data: Dataset) -> None:
    _, facts = fitted(data)
    again = BertSequence(BertSequenceParams(**SMALL), data.catalogue)
    context = FitContext(seed=3, event_types=data.event_types, threads=1, device="cpu", previous=facts)
    final = again.fit(data, context)
    assert final["epochs"] == facts["epochs"] == len(final["losses"])
    assert "validation_ndcg@10" not in final


def test_a_catalogue_without_vectors_is_refused(data: Dataset) -> None:
    with pytest.raises(ConfigError, match="configure an encoder"):
        BertSequence(BertSequenceParams(), Catalogue(["a"]))
    with pytest.raises(RecserveError, match="before it was fitted"):
        BertSequence(BertSequenceParams(), data.catalogue).retrieve(example_queries(data), 3)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.json", None, "model.json is missing"),
        ("model.json", b"{}", "damaged"),
        ("network.safetensors", b"123", "damaged"),
        ("model.json", b'{"format": 7}', "another version"),
        ("model.json", b'{"format": 1, "dimension": 3}', "length 3"),
    ],
)
def test_a_damaged_bundle_is_named(
    name: str, content: bytes | None, said: str, model: BertSequence, data: Dataset, tmp_path: Path
) -> None:
    model.save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=said):
        BertSequence(BertSequenceParams(), data.catalogue).load(tmp_path)
