from __future__ import annotations

import json
import operator
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recserve_rules.filters.available import AvailableFilter
from recserve_rules.parameters import AvailableParams

from recserve import Catalogue, ConfigError, InvalidRequestError, Item
from recserve.config import ComponentConfig, PipelineConfig, RetrieverConfig, parse_config
from recserve.plugin.protocols import Filter, Reranker, Retriever, Stage
from recserve.plugin.registry import Registry
from recserve.serving.scenario import Scenario
from recserve.serving.stages.masks import FilterMasks
from recserve.testing import check_filter, example_catalogue

REGISTRY = Registry.discover(only=["rules"])

SHOP = Catalogue.of(
    [
        Item("a", {"price": 5, "genres": ["Comedy", "War"], "brand": "acme", "sold": True}),
        Item(
            "b", {"price": 25.5, "genres": [], "brand": "zed", "year": 1990, "mixed": "x", "sizes": [1, 2.5]}
        ),
        Item(
            "c", {"price": 8, "old price": 9, "genres": ["Comedy"], "year": 2001, "sold": False, "mixed": 3}
        ),
        Item("d", {"price": None, "genres": "Drama", "year": float("nan"), "brand": "", "mixed": ["x"]}),
    ]
)


def where(catalogue: Catalogue = SHOP, **params: Any) -> Any:
    return REGISTRY.choose(Stage.FILTER, ComponentConfig(use="where", params=params), "filters[0]").build(
        catalogue
    )


def matching(expression: str, catalogue: Catalogue = SHOP) -> str:
    mask = where(catalogue).allowed(expression)
    assert mask.dtype == np.bool_
    return "".join(item_id for item_id, hit in zip(catalogue.ids, mask, strict=True) if hit)


def refusal(expression: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        where().allowed(expression)
    assert "\n" not in caught.value.message
    assert caught.value.field == "filter.where"
    return caught.value.message.removeprefix("filter 'where': ")


def test_components_come_through_the_entry_point() -> None:
    assert [plugin.error for plugin in REGISTRY.plugins] == [None]
    assert REGISTRY.names(Stage.FILTER) == ["available", "where"]
    assert REGISTRY.names(Stage.RERANKER) == [
        "boost", "calibrated", "caps", "discount", "dpp", "fresh", "mmr", "pinned", "renew"
    ]  # fmt: skip
    assert REGISTRY.names(Stage.RETRIEVER) == ["pinned"]
    assert isinstance(where(), Filter)
    for stage, kind in ((Stage.RERANKER, Reranker), (Stage.RETRIEVER, Retriever)):
        config = ComponentConfig(use="pinned", params={"slots": {1: "a"}})
        assert isinstance(REGISTRY.choose(stage, config, "x").build(SHOP), kind)


def test_importing_the_plugin_is_light() -> None:
    code = "import sys, recserve_rules; print([m for m in ('lark', 'torch', 'ray') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# -- the language -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("price < 20", "ac"),
        ("20 > price", "ac"),
        ("not (price < 20)", "b"),
        ("not price < 20", "b"),
        ("price == 25.5", "b"),
        ("price != 5", "bc"),
        ("5 <= price < 9", "ac"),
        ("price < `old price`", "c"),
        ("price > -1e3", "abc"),
        ("price is missing", "d"),
        ("price is not missing", "abc"),
        ("year is missing", "ad"),
        ('"Comedy" in genres', "ac"),
        ("'Comedy' not in genres", "bd"),
        ('"Drama" in genres', "d"),
        ('genres == "Drama"', "d"),
        ('genres in ["War", "Drama"]', "ad"),
        ('genres not in ["War", "Drama",]', "bc"),
        ("year in [1990, 1991]", "b"),
        ("2.5 in sizes", "b"),
        ("1 in sizes", "b"),
        ("sizes is missing", "acd"),
        ('brand == "acme"', "a"),
        ('brand > "b"', "b"),
        ('brand <= "acme"', "ad"),
        ('brand == ""', "d"),
        ('brand == "nobody"', ""),
        ("sold", "a"),
        ("not sold", "c"),
        ("sold == false", "c"),
        ("sold != false", "a"),
        ("true in sold", "a"),
        ("mixed == 3", "c"),
        ('mixed == "x"', "b"),
        ('"x" in mixed', "bd"),
        ("price < 9 and sold or year == 1990", "ab"),
        ("price < 9 and (sold or year == 1990)", "a"),
        ("not not sold", "a"),
        ('price < 20 and "Comedy" in genres and not (brand == "acme" or year is missing)', ""),
        ('price < 20 and "Comedy" in genres and not (brand == "zed" and year is missing)', "ac"),
        (" and ".join(["price < 20"] * 90), "ac"),
        ("(" * 50 + "sold" + ")" * 50, "a"),
    ],
)
def test_what_matches(expression: str, items: str) -> None:
    assert matching(expression) == items


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("prise < 3", "at character 1: no item has an attribute 'prise'; did you mean 'price'?"),
        ("price < 3 and yaer > 1", "at character 15: no item has an attribute 'yaer'; did you mean 'year'?"),
        ("price = 3", "at character 7: unexpected '='; equality is =="),
        ("price < < 3", "at character 9: unexpected '<', expected a value or an attribute"),
        ("price < 3 AND sold", "at character 11: unexpected 'AND'"),
        ("price < 3 AND sold", "keywords are lower case: 'and'"),
        ("(price < 3", "at character 11: the expression ends too early"),
        ("price <", "at character 8: the expression ends too early"),
        ("price < 3)", "at character 10: unexpected ')'"),
        ('brand == "a', "at character 10: unexpected '\"'; the string does not end"),
        ('genres == "Comedy" && sold', "at character 20: unexpected '&'; write 'and'"),
        ("sizes == 1", "at character 10: attribute 'sizes' holds lists of numbers; write: value in sizes"),
        ("brand < 3", "at character 9: attribute 'brand' holds text, no numbers"),
        ('"x" in year', "at character 1: attribute 'year' holds numbers, no text"),
        ("year in [1990, 'x']", "at character 16: attribute 'year' holds numbers, no text"),
        ("price", "at character 1: attribute 'price' holds numbers, no booleans"),
        ("price < brand", "at character 9: attribute 'brand' holds text; only numbers of two"),
        ("sold < true", "at character 1: booleans have no order"),
        ("3 < 4", "at character 1: two values are compared"),
        ("price > 1 or 3 < 4", "at character 14: two values are compared"),
        ("price > 1 and true", "at character 15: a value alone is no condition"),
        ("price in price", "at character 1: 'in' takes"),
        ("3 is missing", "at character 1: only an attribute can be missing"),
        ("price in []", "at character 11: unexpected ']', expected a value"),
        ("   ", "the expression is empty"),
        ("price < 3 " + " " * 2000, "longer than 2000 characters"),
        ("not " * 25 + "sold", "nested deeper than 20 levels"),
        ("(price < 1 or (sold and " * 12 + "sold" + "))" * 12, "nested deeper than 20 levels"),
        (" or ".join(["sold"] * 101), "more than 100 conditions"),
        ("price in [" + ",".join(["1"] * 101) + "]", "more than 100 conditions"),
        ('__import__("os").system("x")', "at character 11: unexpected '('"),
        ("price.real < 3", "at character 6: unexpected '.'"),
    ],
)
def test_what_is_refused_says_where_and_why(expression: str, message: str) -> None:
    assert message in refusal(expression)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.5]),
    st.sampled_from(["", "a", "b", "it's"]),
    st.lists(st.one_of(st.sampled_from(["a", "b"]), st.integers(0, 2), st.booleans()), max_size=3),
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["p", "q"]), VALUES), max_size=6)
# So that every kind of value occurs, and no comparison is refused for its kind.
ONE_OF_EACH: list[dict[str, Any]] = [{"p": one, "q": one} for one in (True, 1, "a", ["a"])]
LITERALS = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "b", "it's"]))
SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def kind(value: Any) -> type:
    return float if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value)


def written(value: Any) -> str:
    return json.dumps(value)


def compared(name: str, sign: str, literal: Any) -> tuple[str, Any]:
    def truth(item: dict[str, Any]) -> bool | None:
        value = item.get(name)
        return SIGNS[sign](value, literal) if kind(value) is kind(literal) else None

    return f"{name} {sign} {written(literal)}", truth


def contained(name: str, literals: list[Any]) -> tuple[str, Any]:
    def truth(item: dict[str, Any]) -> bool | None:
        value = item.get(name)
        if value is None:
            return None
        own = value if isinstance(value, list) else [value]
        return any(kind(one) is kind(other) and one == other for one in own for other in literals)

    return f"{name} in [{', '.join(map(written, literals))}]", truth


def negated(part: tuple[str, Any]) -> tuple[str, Any]:
    def truth(item: dict[str, Any]) -> bool | None:
        inner = part[1](item)
        return None if inner is None else not inner

    return f"not ({part[0]})", truth


def joined(parts: list[tuple[str, Any]], word: str) -> tuple[str, Any]:
    decisive = word == "or"

    def truth(item: dict[str, Any]) -> bool | None:
        inner = [part[1](item) for part in parts]
        if decisive in inner:
            return decisive
        return None if None in inner else not decisive

    return f" {word} ".join(f"({part[0]})" for part in parts), truth


LEAVES = st.one_of(
    st.builds(
        compared,
        st.sampled_from(["p", "q"]),
        st.sampled_from(sorted(SIGNS)),
        LITERALS.filter(lambda one: not isinstance(one, bool)),
    ),
    st.builds(compared, st.sampled_from(["p", "q"]), st.sampled_from(["==", "!="]), st.booleans()),
    st.builds(contained, st.sampled_from(["p", "q"]), st.lists(LITERALS, min_size=1, max_size=3)),
    st.sampled_from(["p", "q"]).map(lambda name: (f"{name} is missing", lambda item: item.get(name) is None)),
    st.sampled_from(["p", "q"]).map(
        lambda name: (name, lambda item: item.get(name) if isinstance(item.get(name), bool) else None)
    ),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(negated),
        st.builds(joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"])),
    ),
    max_leaves=6,
)


@given(ROWS, EXPRESSIONS)
@settings(deadline=None, max_examples=150)
def test_masks_are_what_each_item_says_in_three_valued_logic(
    rows: list[dict[str, Any]], expression: tuple[str, Any]
) -> None:
    items = [*ONE_OF_EACH, *rows]
    catalogue = Catalogue.of([Item(str(number), one) for number, one in enumerate(items)])
    mask = where(catalogue).allowed(expression[0])
    assert mask.tolist() == [expression[1](item) is True for item in items], expression[0]


@given(st.one_of(st.text(max_size=60), st.text("pricesold <>=!()[]'\"`andornotinis,.0123\\", max_size=40)))
@settings(deadline=None, max_examples=200)
def test_whatever_the_text_it_is_a_mask_or_one_clear_line(text: str) -> None:
    message = ""
    try:
        assert where().allowed(text).shape == (4,)
    except InvalidRequestError as error:
        message = error.message
    assert len(message.splitlines()) <= 1
    assert len(message) < 500


# -- the filter ---------------------------------------------------------------------------------


def test_standing_rule_and_request_both_hold() -> None:
    both = where(expression="price < 20")
    assert both.allowed(None).tolist() == [True, False, True, False]
    assert both.allowed("year > 1000").tolist() == [False, False, True, False]
    assert where().allowed(None) is None


def test_standing_rule_is_checked_when_configured_and_when_built() -> None:
    with pytest.raises(ConfigError, match=r"expression = 'price < '.*at character 9"):
        where(expression="price < ")
    with pytest.raises(ConfigError, match=r"filters\[0\].*character 1.*'prise'; did you mean 'price'"):
        where(expression="prise < 3")
    assert where(Catalogue(), expression="prise < 3").allowed(None).shape == (0,)


def test_requests_may_be_kept_to_some_attributes() -> None:
    limited = where(expression="price < 20", request_attributes=["year", "genres"])
    assert limited.allowed("year > 2000").tolist() == [False, False, True, False]
    with pytest.raises(InvalidRequestError, match=r"'price' is not open to requests \(open: year, genres\)"):
        limited.allowed("year > 2000 or price < 3")
    with pytest.raises(InvalidRequestError, match="open: none"):
        where(request_attributes=[]).allowed("sold")
    with pytest.raises(ConfigError, match="'genre'; did you mean 'genres'"):
        where(request_attributes=["genre"])


def test_where_conforms() -> None:
    mask = check_filter("where", 'topic == "space" and "odd" in tags or price >= 11')
    assert mask is not None
    assert 0 < mask.sum() < len(mask)
    assert check_filter("where") is None
    standing = check_filter("where", None, expression="year < 1970")
    assert standing is not None
    assert standing.sum() == 10


def test_where_is_safe_to_share_between_threads() -> None:
    shared = where(example_catalogue())
    expressions = [
        f"year > {1960 + number} and '{topic}' in tags" for number in range(8) for topic in ("space", "odd")
    ]
    with ThreadPoolExecutor(8) as pool:
        masks = list(pool.map(shared.allowed, expressions))
    for expression, mask in zip(expressions, masks, strict=True):
        np.testing.assert_array_equal(mask, where(example_catalogue()).allowed(expression))


# -- availability -------------------------------------------------------------------------------

NOON = 1_704_110_400.0  # 2024-01-01T12:00:00Z


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


WINDOWS = Catalogue.of(
    [
        Item("always", {}),
        Item("from 13:00", {"available_from": "2024-01-01T13:00:00Z"}),
        Item("until 13:00 in Paris", {"available_until": "2024-01-01T14:00:00+01:00"}),
        Item("until that day is over", {"available_until": "2024-01-01"}),
        Item("expires in ms", {"expires_at": (NOON + 60) * 1000}),
        Item("expires in s", {"expires_at": NOON + 120}),
        Item("until the year is over", {"available_until": 2024}),
        Item("until the month is over", {"available_until": "2024-12"}),
        Item("from 2025", {"available_from": "2025"}),
        Item("earlier of two", {"available_until": "2024-06-01", "expires_at": "2024-01-01T12:30:00"}),
        Item("misspelt", {"available_until": "next week"}),
        Item("over before it starts", {"available_from": "2024-02-01", "available_until": "2024-01-31"}),
    ]
)


def test_windows_open_and_close_exactly(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    built = AvailableFilter(AvailableParams(), WINDOWS, clock)
    assert "1 items are withheld" in caplog.text
    assert "'misspelt' with 'next week'" in caplog.text

    def at(moment: float) -> set[str]:
        clock.now = moment
        mask = built.allowed(None)
        assert mask is not None
        return {item_id for item_id, hit in zip(WINDOWS.ids, mask, strict=True) if hit}

    everything = set(WINDOWS.ids) - {"misspelt", "over before it starts"}
    noon = everything - {"from 13:00", "from 2025"}
    assert at(NOON) == noon
    assert at(NOON + 59.999) == noon
    assert at(NOON + 60) == noon - {"expires in ms"}
    assert at(NOON + 120) == noon - {"expires in ms", "expires in s"}
    one = at(NOON + 3600)
    assert "from 13:00" in one
    assert one.isdisjoint({"until 13:00 in Paris", "earlier of two"})
    assert "until that day is over" in at(NOON + 43_199)
    assert "until that day is over" not in at(NOON + 43_200)
    assert at(1_735_689_599) == {"always", "from 13:00", "until the year is over", "until the month is over"}
    assert at(1_735_689_600) == {"always", "from 13:00", "from 2025"}
    # Going back, as a corrected clock may, is as exact.
    assert at(NOON) == noon


def test_time_zone_of_dates_that_name_none() -> None:
    clock = Clock()
    catalogue = Catalogue.of([Item("a", {"available_until": "2024-01-01"})])
    built = AvailableFilter(AvailableParams(timezone="Asia/Tokyo"), catalogue, clock)
    clock.now = NOON + 3 * 3600 - 1
    assert built.allowed(None) == np.array([True])
    clock.now += 1
    assert built.allowed(None) == np.array([False])
    with pytest.raises(ConfigError, match="unknown time zone"):
        REGISTRY.choose(
            Stage.FILTER, ComponentConfig(use="available", params={"timezone": "Mars/Base"}), "filters[0]"
        )


def test_masks_of_time_are_not_cached_beyond_their_time() -> None:
    clock = Clock()
    built = AvailableFilter(AvailableParams(), WINDOWS, clock)
    config = PipelineConfig(retrievers=(RetrieverConfig(use="a"),))
    masks = FilterMasks({"home": Scenario(config, {}, {"available": built})})
    before = masks.allowed("home", {})
    assert before is not None
    assert masks.allowed("home", {}) is before
    clock.now += 3600
    after = masks.allowed("home", {})
    assert after is not None
    assert after[1]
    assert not before[1]


def test_a_filter_says_how_long_its_masks_may_be_cached() -> None:
    class Counting:
        calls = 0

        def __init__(self, ttl_seconds: float) -> None:
            self.ttl_seconds = ttl_seconds

        def allowed(self, argument: Any) -> Any:
            self.calls += 1
            return np.array([True])

    config = PipelineConfig(retrievers=(RetrieverConfig(use="a"),))
    for ttl, calls in ((1e9, 1), (1e-9, 3), (0.0, 3)):
        counting = Counting(ttl)
        masks = FilterMasks({"home": Scenario(config, {}, {"counting": counting})})
        for _ in range(3):
            masks.allowed("home", {})
        assert counting.calls == calls


def test_nothing_to_do_without_windows(caplog: pytest.LogCaptureFixture) -> None:
    assert check_filter("available") is None
    assert check_filter("available", start="year", end=None) is not None
    caplog.clear()
    assert check_filter("available", end="yaer") is None
    assert "no item has an attribute 'yaer'; did you mean 'year'?" in caplog.text


def test_each_scenario_has_rules_of_its_own() -> None:
    def scenario(*slots: str) -> dict[str, Any]:
        pinned = [{"use": "pinned", "params": {"slots": {1: slot}}} for slot in slots]
        return {
            "retrievers": [{"use": "popular"}, pinned[0]],
            "filters": [{"use": "where", "params": {"expression": f"year > {len(slots)}"}}],
            "rerankers": pinned,
        }

    registry = Registry.discover(only=["rules", "popular", "builtins"])
    config = {"encoder": None, "scenarios": {"one": scenario("a"), "two": scenario("b", "c")}}
    components = registry.resolve(parse_config(config)).components()
    assert Counter(one.component.name for one in components.values()) == {
        "popular": 1, "template": 1, "where": 2, "pinned": 5
    }  # fmt: skip
    assert all(key == one.key for key, one in components.items())
    twice = {**scenario("a"), "filters": [{"use": "where"}, {"use": "where"}]}
    with pytest.raises(ConfigError, match="filter 'where' is listed twice"):
        parse_config({"scenarios": {"one": twice}})
