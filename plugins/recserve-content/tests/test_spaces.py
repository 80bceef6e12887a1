"""Named vector spaces beside texts: what pictures add, and that nothing is lost where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recserve_content import content_retriever
from recserve_content.parameters import ContentParams
from recserve_content.retriever import ContentRetriever
from recserve_content.space import TextSpace
from recserve_content.spaces import ItemSpace, NamedSpace

from recserve import (
    BundleError,
    Catalogue,
    ConfigError,
    Dataset,
    FitContext,
    FloatArray,
    Item,
    Queries,
    Vocabulary,
)
from recserve.data.columns.named_vectors import LaterVectors
from recserve.evaluation import RetrieverRecommender, evaluate, paired_difference, temporal

ITEMS, COLOURS, USERS, EVENTS = 400, 5, 150, 16
SIDE = 8


def unit(rows: np.ndarray) -> FloatArray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def pictures(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture an item, uint8 (n, SIDE, SIDE, 3), and the colour of each: one of five with much noise."""
    palette = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60], [60, 200, 200]])
    colours = random.integers(0, COLOURS, ITEMS)
    noise = random.normal(0, 60, (ITEMS, SIDE, SIDE, 3))
    return np.clip(palette[colours][:, None, None, :] + noise, 0, 255).astype(np.uint8), colours


def histograms(seen: np.ndarray) -> FloatArray:
    """Joint histogram of colours of each picture, two levels a channel."""
    codes = (seen // 128).reshape(len(seen), -1, 3) @ np.array([4, 2, 1])
    return unit(np.stack([np.bincount(one, minlength=8) for one in codes]) + 1e-3)


def shop(colours: np.ndarray, random: np.random.Generator) -> Dataset:
    """Everybody likes one colour; of items, a new one comes in every few events, so many are cold."""
    events = []
    for user in range(USERS):
        taste = random.integers(COLOURS)
        for step in range(EVENTS):
            moment = (step + random.random()) / EVENTS
            out = int(ITEMS * (0.4 + 0.6 * moment))
            suits = np.flatnonzero(colours[:out] == taste)
            item = int(random.choice(suits)) if random.random() < 0.9 else int(random.integers(out))
            events.append((moment * 1e9, user, item))
    events.sort()
    times, users, items = (np.array(column) for column in zip(*events, strict=True))
    texts = unit(random.normal(size=(ITEMS, 16)))  # which say nothing of the colour
    return Dataset(
        Catalogue.of([Item(f"i{row}") for row in range(ITEMS)], texts),
        Vocabulary(f"u{user}" for user in range(USERS)),
        users.astype(np.int32),
        items.astype(np.int32),
        np.zeros(len(events), np.int16),
        np.ones(len(events), np.float32),
        times.astype(np.int64),
        ("view",),
    )


@pytest.fixture(scope="module")
def made() -> tuple[Dataset, FloatArray]:
    random = np.random.default_rng(7)
    seen, colours = pictures(random)
    return shop(colours, random), histograms(seen)


def fitted(data: Dataset, **params: object) -> ContentRetriever:
    retriever = content_retriever(ContentParams(**params), data.catalogue)  # type: ignore[arg-type]
    retriever.fit(data, FitContext(threads=1))
    return retriever


def with_space(data: Dataset, space: FloatArray) -> Dataset:
    return data.with_catalogue(data.catalogue.with_spaces({"image": space}))


@pytest.fixture(scope="module")
def seeing(made: tuple[Dataset, FloatArray]) -> ContentRetriever:
    return fitted(with_space(*made))


def test_pictures_whose_colour_decides_taste_help_cold_items(made: tuple[Dataset, FloatArray]) -> None:
    """By the product's own leak-free evaluation: the whole catalogue is ranked for later events."""
    data, space = made
    reports = {}
    for name, one in (("without", data), ("with", with_space(data, space))):
        split = temporal(one, 0.2, queries_per_user=2)
        model = RetrieverRecommender(fitted(split.training))
        reports[name] = evaluate(model, split, (10,), name=name, detailed=True)
    cold = {
        name: next(part for part in report.slices if part.name.startswith("cold items"))
        for name, report in reports.items()
    }
    figures = {name: part.metrics["ndcg@10"].mean for name, part in cold.items()}
    assert figures["with"] > 3 * figures["without"]
    values = [cold[name].per_user["ndcg@10"] for name in ("with", "without")]
    inside = ~np.isnan(values[0])
    gain = paired_difference(values[0][inside], values[1][inside])
    assert gain.low > 0


def test_a_space_that_says_nothing_is_left_out_and_changes_nothing(made: tuple[Dataset, FloatArray]) -> None:
    data, _ = made
    noise = unit(np.random.default_rng(3).normal(size=(ITEMS, 8)))
    blind = fitted(data)
    asked = Queries.of(data.histories, np.full(USERS, 2_000_000_000, np.int64))
    facts = fitted(with_space(data, noise))._facts
    chosen = facts["spaces"]["image"]
    best_alone = max(one["ndcg@10"] for one in blind._facts["validation"])
    assert max(one["ndcg@10"] for one in facts["validation"]) >= best_alone
    off = fitted(with_space(data, noise), space_weights={"image": 0.0})
    found = off.retrieve(asked, 10)
    np.testing.assert_array_equal(found.items, blind.retrieve(asked, 10).items)
    np.testing.assert_array_equal(found.scores, blind.retrieve(asked, 10).scores)
    assert chosen in {0.0, 0.3, 1.0, 3.0, 10.0}


def test_what_was_chosen_is_taken_over_by_the_final_fit(
    seeing: ContentRetriever, made: tuple[Dataset, FloatArray]
) -> None:
    assert seeing._facts["spaces"]["image"] > 0
    data = with_space(*made)
    final = content_retriever(ContentParams(), data.catalogue)
    facts = final.fit(data, FitContext(threads=1, previous=seeing._facts))
    assert facts["spaces"] == seeing._facts["spaces"]
    assert "space_validation" not in facts


def test_similar_items_go_by_both_spaces(made: tuple[Dataset, FloatArray]) -> None:
    data, space = made
    anchors = np.array([3], dtype=np.int32)
    histories = data.histories.select(np.array([0])).where(np.zeros(EVENTS, dtype=bool))
    asked = Queries.of(histories, np.zeros(1, np.int64), anchors=anchors)
    blind, seeing = (
        fitted(with_space(data, space), space_weights={"image": weight}).retrieve(asked, 5).items[0]
        for weight in (0.0, 10.0)
    )
    assert set(blind.tolist()) != set(seeing.tolist())
    assert (space[seeing] @ space[3]).mean() > (space[blind] @ space[3]).mean() + 0.1


def test_a_missing_vector_leaves_an_item_to_its_other_spaces() -> None:
    plain = TextSpace.plain(2)
    space = ItemSpace(plain, (NamedSpace("image", plain, 3.0),))
    texts = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    images = np.array([[0, 0], [0, 1], [0, 0]], dtype=np.float32)
    features = space.project(texts, {"image": images})
    np.testing.assert_allclose(features[0], [1, 0, 0, 0])
    np.testing.assert_allclose(features[1], [0.5, 0, 0, np.sqrt(0.75)], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    assert features[0] @ features[2] == 0


def test_a_model_is_kept_and_checked(
    seeing: ContentRetriever, made: tuple[Dataset, FloatArray], tmp_path: Path
) -> None:
    data, space = made
    seeing.save(tmp_path)
    assert json.loads((tmp_path / "content.json").read_text())["spaces"] == seeing._facts["spaces"]
    again = content_retriever(ContentParams(), with_space(data, space).catalogue)
    again.load(tmp_path)
    asked = Queries.of(data.histories, np.full(USERS, 2_000_000_000, np.int64))
    np.testing.assert_array_equal(again.retrieve(asked, 9).scores, seeing.retrieve(asked, 9).scores)
    with pytest.raises(BundleError, match="no vectors of the space image"):
        content_retriever(ContentParams(), data.catalogue).load(tmp_path)


def test_a_new_item_is_judged_by_the_vector_it_came_with(
    seeing: ContentRetriever, made: tuple[Dataset, FloatArray]
) -> None:
    """Two new items of one text; the picture of the first is what the user likes."""
    data, space = made
    asked = Queries.of(data.histories, np.full(USERS, 2_000_000_000, np.int64)).part(0, 1)
    liked = space[asked.histories.items].mean(axis=0)
    unlike = space[int(np.argmin(space @ liked))]
    rows = np.array([ITEMS, ITEMS + 1], dtype=np.int32)
    later = LaterVectors(rows, unit(np.stack([liked, unlike])))
    texts = np.repeat(unit(np.ones((1, 16))), 2, axis=0)
    allowed = (np.ones(ITEMS + 2, dtype=bool),)
    asked = replace(asked, extra_vectors=texts, later_vectors={"image": later}, allowed=allowed)
    found = seeing.retrieve_among(asked, rows, texts, 2)
    assert found.items[0].tolist() == [ITEMS, ITEMS + 1]
    assert found.scores[0, 0] > found.scores[0, 1] + 0.5
    without = seeing.retrieve_among(replace(asked, later_vectors={}), rows, texts, 2)
    assert without.scores[0, 0] == without.scores[0, 1]


def test_weights_of_unknown_spaces_are_refused(made: tuple[Dataset, FloatArray]) -> None:
    with pytest.raises(ConfigError, match=r"space_weights\.audio"):
        fitted(with_space(*made), space_weights={"audio": 1.0})


def test_parameters_without_weights_are_written_as_before() -> None:
    assert "space_weights" not in ContentParams().model_dump(mode="json")
    weighted = ContentParams(space_weights={"image": 2.0})
    assert ContentParams.model_validate(weighted.model_dump(mode="json")) == weighted
