from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recserve import Candidates, Catalogue, ConfigError, Histories, Item, Queries, Ragged
from recserve.config import ComponentConfig, parse_config
from recserve.plugin.protocols import Stage
from recserve.plugin.registry import Registry
from recserve.serving.stages.ranking import rerank
from recserve.testing import (
    check_reranker,
    check_retriever,
    example_candidates,
    example_catalogue,
    example_dataset,
    example_queries,
    one_query,
)

REGISTRY = Registry.discover(only=["rules"])
DATA = example_dataset()
N_ITEMS = DATA.n_items
VECTORS = DATA.catalogue.vectors
assert VECTORS is not None

RULES: dict[str, list[dict[str, Any]]] = {
    "mmr": [{}, {"trade_off": 0.0}, {"trade_off": 0.4, "relevance": "rank", "pool": 7}],
    "dpp": [{}, {"trade_off": 0.0, "ridge": 1e-6}, {"trade_off": 0.4, "relevance": "rank", "pool": 7}],
    "calibrated": [
        {"attribute": "tags"},
        {"attribute": "topic", "strength": 1.0, "half_life_days": 3},
        {"attribute": "year", "pool": 7},
    ],
    "caps": [
        {"rules": [{"attribute": "topic", "limit": 1}]},
        {"rules": [{"attribute": "tags", "limit": 3, "limits": {"odd": 0}}], "first": 4},
        {"rules": [{"attribute": "topic", "limit": 2}, {"attribute": "price", "limit": 1}]},
    ],
    "boost": [
        {"rules": [{"when": "topic == 'space'", "add": 1}, {"when": "year < 1980", "add": -0.5}]},
        {"rules": [{"when": "topic == 'space'", "multiply": 2}, {"when": "price > 7", "multiply": 0}]},
    ],
    "fresh": [{"attribute": "year"}, {"attribute": "year", "weight": 5, "half_life_days": 1000}],
    "discount": [{}, {"weight": 3, "half_life_days": 0.5}],
    "renew": [{}, {"share": 1.0, "visit_minutes": 5}],
    "pinned": [{"slots": {1: "item-3", 4: "item-8", 60: "item-9", 2: "not an item"}}],
}
CASES = [(name, params) for name, several in RULES.items() for params in several]
NEUTRAL: list[tuple[str, dict[str, Any]]] = [
    ("mmr", {"trade_off": 1.0}),
    ("dpp", {"trade_off": 1.0}),
    ("calibrated", {"attribute": "tags", "strength": 0.0}),
    ("caps", {"rules": [{"attribute": "tags", "limit": 1000}]}),
    ("boost", {"rules": [{"when": "topic == 'space'", "add": 0}]}),
    ("boost", {"rules": [{"when": "topic == 'space'", "multiply": 1}]}),
    ("fresh", {"attribute": "year", "weight": 0}),
    ("discount", {}),
    ("renew", {}),
    ("pinned", {"slots": {1: "not an item"}}),
]


def build(name: str, params: dict[str, Any], catalogue: Catalogue = DATA.catalogue) -> Any:
    config = ComponentConfig(use=name, params=params)
    return REGISTRY.choose(Stage.RERANKER, config, "rerankers[0]").build(catalogue)


def candidates(rows: list[list[int]], scores: list[list[float]] | None = None) -> Candidates:
    width = max(map(len, rows), default=0)
    items = np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int32).reshape(
        len(rows), width
    )
    given_scores = scores or [[float(width - place) for place in range(len(row))] for row in rows]
    padded = [one + [-np.inf] * (width - len(one)) for one in given_scores]
    values = np.array(padded, dtype=np.float32).reshape(len(rows), width)
    return Candidates(items, values, ("a",), values[:, :, None], np.full(items.shape, -1, dtype=np.int32))


def queries(histories: list[list[int]], weights: list[list[float]] | None = None) -> Queries:
    flat = Ragged.of(histories)
    events = len(flat.values)
    packed = Histories(
        flat.offsets,
        flat.values,
        np.zeros(events, dtype=np.int16),
        np.array([one for row in weights or [] for one in row] or np.ones(events), dtype=np.float32),
        np.arange(events, dtype=np.int64) * 86_400_000,
    )
    return Queries.of(packed, np.full(len(histories), events * 86_400_000, dtype=np.int64))


def listed(positions: NDArray[np.int32], row: int = 0) -> list[int]:
    return [int(one) for one in positions[row] if one >= 0]


# -- what holds for all of them -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "params"), CASES)
def test_conforms(name: str, params: dict[str, Any]) -> None:
    check_reranker(name, **params)


LISTS = st.lists(
    st.tuples(
        # Rows beyond the catalogue are live items; they have no attributes and maybe a vector.
        st.lists(st.integers(0, N_ITEMS + 2), unique=True, max_size=12),
        st.lists(st.integers(0, N_ITEMS), max_size=5),
    ),
    min_size=1,
    max_size=3,
)


@given(
    LISTS,
    st.sampled_from(CASES),
    st.integers(1, 15),
    st.sampled_from([0.0, 1.0, -3.0, 1e30]),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=150)
def test_every_order_is_a_permutation_and_the_same_again(
    rows: list[tuple[list[int], list[int]]],
    case: tuple[str, dict[str, Any]],
    n: int,
    scale: float,
    random: Any,
) -> None:
    scores = [sorted((random.uniform(-1, 1) * scale for _ in own), reverse=True) for own, _ in rows]
    ranked = candidates([own for own, _ in rows], scores)
    asked = replace(queries([history for _, history in rows]), extra_vectors=VECTORS[:1])
    built = build(*case)
    positions = built.rerank(asked, ranked, n)
    assert positions.dtype == np.int32
    assert positions.shape == ranked.items.shape
    for index, (own, _) in enumerate(rows):
        assert sorted(listed(positions, index)) == list(range(len(own)))
        assert (positions[index, len(own) :] == -1).all()
    np.testing.assert_array_equal(built.rerank(asked, ranked, n), positions)
    page = rerank(built, asked, ranked, n)[0].first(n)
    assert ((page.items >= 0).sum(axis=1) == np.minimum((ranked.items >= 0).sum(axis=1), n)).all()


@given(LISTS, st.sampled_from(NEUTRAL), st.integers(1, 15))
@settings(deadline=None, max_examples=60)
def test_neutral_parameters_keep_the_order(
    rows: list[tuple[list[int], list[int]]], case: tuple[str, dict[str, Any]], n: int
) -> None:
    ranked = candidates([own for own, _ in rows])
    positions = build(*case).rerank(queries([history for _, history in rows]), ranked, n)
    for index, (own, _) in enumerate(rows):
        assert listed(positions, index) == list(range(len(own)))


@pytest.mark.parametrize(("name", "params"), CASES)
def test_a_query_gets_the_same_alone_as_in_a_batch_and_for_a_longer_page(
    name: str, params: dict[str, Any]
) -> None:
    asked = example_queries(DATA)
    ranked = example_candidates(DATA, asked)
    built = build(name, params)
    positions = built.rerank(asked, ranked, 5)
    longer = built.rerank(asked, ranked, 9)
    for index in range(len(asked)):
        pick = slice(index, index + 1)
        own = Candidates(
            ranked.items[pick],
            ranked.scores[pick],
            ranked.sources,
            ranked.source_scores[pick],
            ranked.evidence[pick],
        )
        alone = built.rerank(one_query(asked, index), own, 5)
        np.testing.assert_array_equal(alone[0, :5], positions[index, :5])
        if name != "caps":  # a page too long for the caps is filled with what they leave out
            np.testing.assert_array_equal(longer[index, :5], positions[index, :5])


def test_an_earlier_rerankers_order_stands() -> None:
    # Scores are those of the ranker; what 'boost' did to the order must not be undone by 'mmr'.
    ranked = candidates([[0, 1, 2, 3, 4, 5]])
    boost = build("boost", {"rules": [{"when": "year == 1965", "add": 50}]})
    mmr = build("mmr", {"trade_off": 0.99})
    boosted, _ = rerank(boost, queries([[]]), ranked, 3)
    assert rerank(mmr, queries([[]]), boosted, 3)[0].first(3).items[0].tolist() == [5, 0, 1]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("mmr", {"trade_off": 1.1}, "trade_off = 1.1"),
        ("mmr", {"lambda": 0.5}, "unknown key 'lambda'"),
        ("caps", {"rules": []}, "rules"),
        ("caps", {"rules": [{"attribute": "topics", "limit": 1}]}, "'topics'; did you mean 'topic'"),
        ("calibrated", {"attribute": "tag"}, "'tag'; did you mean 'tags'"),
        ("fresh", {"attribute": "yaer"}, "'yaer'; did you mean 'year'"),
        ("fresh", {"attribute": "title"}, "'title' holds no dates, but for example 'Space number 0'"),
        ("boost", {"rules": [{"when": "topic ="}]}, "at character 7"),
        ("boost", {"rules": [{"when": "topic == 'a'"}]}, "give either 'add' or 'multiply'"),
        ("boost", {"rules": [{"when": "tpic == 'a'", "add": 1}]}, r"rules\[0\].when: at character 1.*'tpic'"),
        (
            "boost",
            {"rules": [{"when": "year > 1", "add": 1}, {"when": "year > 1", "multiply": 2}]},
            "either all add or all multiply",
        ),
        ("pinned", {"slots": {0: "a"}}, "slots"),
        ("pinned", {"slots": {1: "a", 2: "a"}}, "item 'a' is pinned to two places"),
    ],
)
def test_wrong_parameters_are_named(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(name, params)
    assert "\n" not in caught.value.message


def test_diversity_needs_an_encoder() -> None:
    config = parse_config(
        {
            "encoder": None,
            "scenarios": {"home": {"retrievers": [{"use": "popular"}], "rerankers": [{"use": "mmr"}]}},
        }
    )
    with pytest.raises(ConfigError, match="reranker 'mmr' needs text vectors"):
        Registry.discover(only=["rules", "popular", "builtins"]).resolve(config)


# -- diversity ----------------------------------------------------------------------------------

DISTINCT_LISTS = st.lists(st.integers(0, N_ITEMS - 1), unique=True, min_size=2, max_size=10)


def spaced(count: int, random: Any) -> tuple[list[float], NDArray[np.float64]]:
    scores = np.sort(np.float32([random.uniform(-5, 5) for _ in range(count)]))[::-1]
    spread = float(scores[0]) - float(scores[-1])
    relevance = (scores.astype(np.float64) - scores[-1]) / spread if spread else np.ones(count)
    return scores.tolist(), relevance


@given(DISTINCT_LISTS, st.floats(0.0, 0.95), st.integers(1, 10), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_mmr_is_carbonell_and_goldsteins(rows: list[int], trade_off: float, n: int, random: Any) -> None:
    scores, relevance = spaced(len(rows), random)
    positions = listed(
        build("mmr", {"trade_off": trade_off}).rerank(queries([[]]), candidates([rows], [scores]), n)
    )
    cosines = VECTORS[rows].astype(np.float64) @ VECTORS[rows].T
    placed: list[int] = []
    for _ in range(min(n, len(rows))):
        worth = {
            one: trade_off * relevance[one]
            - (1 - trade_off) * max((cosines[one, other] for other in placed), default=0.0)
            for one in range(len(rows))
            if one not in placed
        }
        best = positions[len(placed)]
        assert worth[best] >= max(worth.values()) - 1e-5
        placed.append(best)


@given(DISTINCT_LISTS, st.floats(0.0, 0.95), st.integers(1, 10), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_dpp_adds_what_raises_the_determinant_most(
    rows: list[int], trade_off: float, n: int, random: Any
) -> None:
    scores, relevance = spaced(len(rows), random)
    params = {"trade_off": trade_off, "ridge": 0.01}
    positions = listed(build("dpp", params).rerank(queries([[]]), candidates([rows], [scores]), n))
    kernel = 0.99 * (VECTORS[rows].astype(np.float64) @ VECTORS[rows].T)
    np.fill_diagonal(kernel, 1.0)

    def worth(chosen: list[int]) -> float:
        sign, logarithm = np.linalg.slogdet(kernel[np.ix_(chosen, chosen)])
        assert sign > 0
        return float(trade_off * relevance[chosen].sum() + (1 - trade_off) * logarithm)

    placed: list[int] = []
    for best in positions[: min(n, len(rows))]:
        others = [worth([*placed, one]) for one in range(len(rows)) if one not in placed]
        assert worth([*placed, best]) >= max(others) - 1e-4
        placed.append(best)


@pytest.mark.parametrize("name", ["mmr", "dpp"])
def test_pages_become_more_diverse(name: str) -> None:
    # Topics are row modulo 4: the ranker likes only one of them.
    rows = [*range(0, 40, 4), *range(1, 40, 4), *range(2, 40, 4)]
    ranked = candidates([rows])
    for trade_off, topics in ((1.0, 1), (0.3, 3)):
        page = listed(build(name, {"trade_off": trade_off}).rerank(queries([[]]), ranked, 6))[:6]
        assert len({rows[position] % 4 for position in page}) == topics


@pytest.mark.parametrize("name", ["mmr", "dpp"])
def test_copies_come_last_and_the_page_is_filled(name: str) -> None:
    vectors = np.zeros((6, 3), dtype=np.float32)
    vectors[[0, 1, 2, 3], 0] = 1
    vectors[4, 1] = vectors[5, 2] = 1
    catalogue = Catalogue.of([Item(str(row)) for row in range(6)], vectors)
    ranked = candidates([[0, 1, 2, 3, 4, 5]], [[1.0] * 6])
    order = listed(build(name, {"trade_off": 0.5}, catalogue).rerank(queries([[]]), ranked, 6))
    assert order == [0, 4, 5, 1, 2, 3]


# -- calibration --------------------------------------------------------------------------------


def divergence(page: list[int], target: dict[str, float], tags: list[list[str]]) -> float:
    mix: Counter[str] = Counter()
    for row in page:
        for tag in tags[row]:
            mix[tag] += 1 / len(tags[row])
    total = sum(mix.values())
    return sum(
        share * np.log(share / ((0.99 * mix[tag] / total if total else 0.0) + 0.01 * share))
        for tag, share in target.items()
    )


def test_calibration_is_stecks_greedy_step_by_step() -> None:
    tags = [["a"], ["b"], ["a", "b"], ["c"], [], ["a", "c"], ["b", "c", "d"], ["d"]]
    catalogue = Catalogue.of([Item(str(row), {"tags": one}) for row, one in enumerate(tags)])
    # Item 0 counts twice as much as item 6; the disliked item 3 not at all.
    asked = queries([[0, 6, 3]], [[2.0, 1.0, -1.0]])
    target = {"a": 2 / 3, "b": 1 / 9, "c": 1 / 9, "d": 1 / 9}
    rows = [3, 4, 7, 6, 1, 5, 2, 0]
    scores = [4.0, 3.5, 2.0, 1.0, 0.5, 0.0, -1.0, -4.0]
    relevance = (np.array(scores) + 4.0) / 8.0
    for strength in (0.2, 0.5, 0.9, 1.0):
        built = build("calibrated", {"attribute": "tags", "strength": strength}, catalogue)
        positions = listed(built.rerank(asked, candidates([rows], [scores]), 8))
        placed: list[int] = []
        for best in positions:
            worth = {
                one: (1 - strength) * relevance[one]
                - strength * divergence([rows[other] for other in [*placed, one]], target, tags)
                for one in range(8)
                if one not in placed
            }
            assert worth[best] >= max(worth.values()) - 1e-9
            placed.append(best)


def test_calibration_brings_the_mix_closer_to_the_history() -> None:
    asked = example_queries(DATA)
    ranked = example_candidates(DATA, asked)
    tags = [[str(topic)] for topic in DATA.catalogue.column("topic")]
    divergences = []
    for strength in (0.0, 0.3, 0.6, 1.0):
        built = build("calibrated", {"attribute": "topic", "strength": strength})
        page = rerank(built, asked, ranked, 8)[0].first(8).items
        total = 0.0
        for index in range(1, len(asked)):
            history = asked.histories.select(np.array([index])).known(N_ITEMS).positive()
            target: Counter[str] = Counter()
            for row, weight in zip(history.items, history.weights, strict=True):
                target[tags[row][0]] += float(weight)
            everything = sum(target.values())
            shares = {topic: one / everything for topic, one in target.items()}
            total += divergence([int(row) for row in page[index] if row >= 0], shares, tags)
        divergences.append(total)
    assert divergences == sorted(divergences, reverse=True)
    assert divergences[-1] < 0.7 * divergences[0]


def test_calibration_without_a_history_keeps_the_order() -> None:
    ranked = candidates([[5, 3, 8, 1], [5, 3, 8, 1]])
    built = build("calibrated", {"attribute": "topic", "strength": 0.9})
    positions = built.rerank(queries([[], [1, 1, 1]]), ranked, 4)
    assert listed(positions, 0) == [0, 1, 2, 3]
    assert listed(positions, 1)[0] == 0


def test_old_events_fade_from_the_target() -> None:
    # Ten days of space, then one event on cooking.
    ranked = candidates([[0, 1]])
    asked = queries([[0] * 10 + [1]])
    params = {"attribute": "topic", "strength": 1.0}
    assert listed(build("calibrated", params).rerank(asked, ranked, 2)) == [0, 1]
    faded = build("calibrated", {**params, "half_life_days": 0.5})
    assert listed(faded.rerank(asked, ranked, 2)) == [1, 0]


# -- caps ---------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=40),
    st.integers(1, 4),
    st.integers(1, 12),
)
@settings(deadline=None, max_examples=80)
def test_caps_hold_wherever_they_can(rows: list[int], limit: int, n: int) -> None:
    built = build("caps", {"rules": [{"attribute": "topic", "limit": limit}]})
    order = listed(built.rerank(queries([[]]), candidates([rows]), n))
    topics = [row % 4 for row in rows]
    possible = sum(min(count, limit) for count in Counter(topics).values())
    inside = min(n, possible)
    page = Counter(topics[position] for position in order[:inside])
    assert max(page.values(), default=0) <= limit
    # Both what the caps let in and what they leave out stay in the order of their ranks.
    assert order[:inside] == sorted(order[:inside])
    assert order[inside:] == sorted(order[inside:])


def test_caps_count_every_value_of_a_list_and_several_rules() -> None:
    catalogue = Catalogue.of(
        [
            Item("0", {"brand": "x", "genres": ["a", "b"]}),
            Item("1", {"brand": "y", "genres": ["b"]}),
            Item("2", {"brand": "x", "genres": ["c"]}),
            Item("3", {"brand": "z", "genres": []}),
            Item("4", {"genres": ["c"]}),
            Item("5", {"brand": "y", "genres": ["a"]}),
        ]
    )
    ranked = candidates([[0, 1, 2, 3, 4, 5, 99]])

    def order(*rules: dict[str, Any], **params: Any) -> list[int]:
        return listed(build("caps", {"rules": rules, **params}, catalogue).rerank(queries([[]]), ranked, 5))

    assert order({"attribute": "genres", "limit": 1}) == [0, 2, 3, 6, 1, 4, 5]
    assert order({"attribute": "brand", "limit": 1}) == [0, 1, 3, 4, 6, 2, 5]
    assert order({"attribute": "brand", "limit": 1}, {"attribute": "genres", "limit": 1}) == [
        0,
        3,
        4,
        6,
        1,
        2,
        5,
    ]
    assert order({"attribute": "brand", "limit": 2, "limits": {"x": 0, "nobody": 0}}) == [1, 3, 4, 5, 6, 0, 2]
    assert order({"attribute": "genres", "limit": 1}, first=2) == [0, 2, 1, 3, 4, 5, 6]


# -- boosts, freshness, pins --------------------------------------------------------------------


def test_boost_adds_standard_deviations_whatever_the_scores() -> None:
    rows = [0, 1, 2, 3, 4]
    plain = [2.0, 1.0, 0.0, -1.0, -2.0]
    for scale, shift in ((1.0, 0.0), (1e-3, 0.0), (50.0, -1e4), (1.0, 3.0)):
        ranked = candidates([rows], [[one * scale + shift for one in plain]])
        for add, expected in (
            (0.5, [0, 1, 2, 3, 4]),
            (1.0, [0, 1, 3, 2, 4]),  # one standard deviation is 1.41 here
            (2.0, [0, 3, 1, 2, 4]),
            (3.0, [3, 0, 1, 2, 4]),
            (-1.0, [0, 1, 2, 4, 3]),
        ):
            boost = build("boost", {"rules": [{"when": "year == 1963", "add": add}]})
            assert listed(boost.rerank(queries([[]]), ranked, 5)) == expected


def test_boost_multiplies_by_rank() -> None:
    ranked = candidates([list(range(60))], [[-float(place**2) for place in range(60)]])
    boost = build("boost", {"rules": [{"when": "year == 2019", "multiply": 2}]})
    # Rank 60 has utility 1/120, doubled 1/60: more than the 1/61 of rank 1.
    assert listed(boost.rerank(queries([[]]), ranked, 60))[:3] == [59, 0, 1]
    twice = build(
        "boost",
        {"rules": [{"when": "year >= 2018", "multiply": 1.5}, {"when": "year == 2019", "multiply": 0}]},
    )
    assert listed(twice.rerank(queries([[]]), ranked, 60))[-1] == 59


def test_equal_scores_stay_in_order_of_rank_within_a_boost() -> None:
    ranked = candidates([[0, 1, 2, 3, 4]], [[0.1] * 5])
    boost = build("boost", {"rules": [{"when": "year in [1963, 1961]", "add": 0.01}]})
    assert listed(boost.rerank(queries([[]]), ranked, 5)) == [1, 3, 0, 2, 4]


def test_fresh_items_rise_by_age_at_the_time_of_the_query() -> None:
    day = 86_400_000
    catalogue = Catalogue.of(
        [
            Item("undated"),
            Item("old", {"released": "2023-01-01"}),
            Item("new", {"released": "2024-01-09T12:00:00Z"}),
            Item("coming", {"released": 1_800_000_000}),
            Item("odd", {"released": "soon"}),
        ]
    )
    ranked = candidates([[0, 1, 2, 3, 4]] * 2, [[5.0, 4.0, 3.0, 2.0, 1.0]] * 2)
    now = 1_704_844_800_000  # 2024-01-10
    asked = replace(queries([[], []]), times=np.array([now, now + 200 * day], dtype=np.int64))
    built = build("fresh", {"attribute": "released", "weight": 1.0, "half_life_days": 10}, catalogue)
    positions = built.rerank(asked, ranked, 5)
    # Steps between scores are 0.71 standard deviations: a new item passes one neighbour, not two.
    assert listed(positions, 0) == [0, 2, 1, 3, 4]
    assert listed(positions, 1) == [0, 1, 3, 2, 4]


def test_pins_take_their_places_and_the_rest_keeps_its_order() -> None:
    params = {"slots": {1: "item-7", 3: "item-9", 9: "item-2"}}
    built = build("pinned", params)
    ranked = candidates([[1, 2, 3, 9, 7], [9, 1], [4, 5], [2, 3]])
    positions = built.rerank(queries([[]] * 4), ranked, 5)
    assert listed(positions, 0) == [4, 0, 3, 2, 1]
    assert listed(positions, 1) == [1, 0]
    assert listed(positions, 2) == [0, 1]
    assert listed(positions, 3) == [1, 0]


def test_pins_are_not_for_those_who_must_not_see_them() -> None:
    allowed = np.ones(N_ITEMS, dtype=np.bool_)
    allowed[7] = False
    asked = replace(
        queries([[]] * 3),
        allowed=(allowed, None, None),
        excluded=Ragged.of([[], [7], []]),
        anchors=np.array([-1, -1, 7], dtype=np.int32),
    )
    ranked = candidates([[1, 7]] * 3)
    positions = build("pinned", {"slots": {1: "item-7"}}).rerank(asked, ranked, 2)
    assert positions.tolist() == [[0, 1]] * 3


def test_pinned_retriever_brings_what_the_reranker_places() -> None:
    check_retriever("pinned", slots={1: "item-7", 2: "item-9", 5: "item-4"})
    with pytest.raises(AssertionError, match="nothing is found"):
        check_retriever("pinned", slots={1: "not an item"})
    config = ComponentConfig(use="pinned", params={"slots": {3: "item-9", 1: "item-7"}})
    found = (
        REGISTRY.choose(Stage.RETRIEVER, config, "x").build(example_catalogue()).retrieve(queries([[]]), 10)
    )
    assert found.items.tolist() == [[7, 9]]
