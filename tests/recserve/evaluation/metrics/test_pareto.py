"""The Pareto front: who is on it, who dominates whom, and figures that are missing."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recserve.evaluation.metrics.pareto import (
    ANSWER_MS,
    Better,
    Measure,
    ParetoTable,
    measures_at,
    pareto,
    significant,
)

GAIN = Measure("gain", "gain", "g", Better.MORE, ".2f")
COST = Measure("cost", "cost", "c", Better.LESS, ".2g")
LIFT = Measure("lift", "lift", "l", Better.NEAR_ZERO, "+.2f")
MEASURES = (GAIN, COST, LIFT)

# Few values, so that ties and equal models come up.
figure = st.sampled_from([-0.3, 0.0, 0.1, 0.101, 0.25, 1.0, 7.0, math.nan])
models = st.dictionaries(
    st.sampled_from("abcdefgh"), st.fixed_dictionaries({m.name: figure for m in MEASURES}), min_size=1
)


def no_worse(table: ParetoTable, first: str, second: str) -> list[bool]:
    """Whether the first model is no worse than the second, measure by measure, and strictly better."""
    rows = {row.model: row for row in table.rows}
    pairs = [
        (
            measure.badness(rows[first].figures[measure.name]),
            measure.badness(rows[second].figures[measure.name]),
        )
        for measure in table.measures
    ]
    return [all(mine <= theirs for mine, theirs in pairs), any(mine < theirs for mine, theirs in pairs)]


@given(models, st.randoms())
@settings(max_examples=120, deadline=None)
def test_the_front_holds_who_nobody_dominates_in_whatever_order(found, random) -> None:
    table = pareto(found, MEASURES)
    names = [row.model for row in table.rows]
    assert sorted(names) == sorted(found)
    assert table.front, "there is always a front"
    for row in table.rows:
        dominators = [name for name in names if all(no_worse(table, name, row.model))]
        assert row.on_front == (not dominators)
        assert list(row.dominated_by) == [name for name in dominators if name in table.front]
        assert dominators == [] or row.dominated_by, "some dominator is on the front"
    mixed = list(found)
    random.shuffle(mixed)
    # As JSON, where a missing figure is equal to itself.
    assert pareto({name: found[name] for name in mixed}, MEASURES).to_json() == table.to_json()


@given(models)
@settings(max_examples=50, deadline=None)
def test_a_better_figure_never_leaves_the_front(found) -> None:
    table = pareto(found, MEASURES)
    name = table.front[0]
    better = {**found, name: {**found[name], "gain": 100.0, "cost": -100.0, "lift": 0.0}}
    assert pareto(better, MEASURES).front == [name], "it beats everybody in everything"


def test_equal_models_are_both_on_the_front() -> None:
    twins = {"b": {"gain": 0.5, "cost": 1.0}, "a": {"gain": 0.5, "cost": 1.0}}
    assert pareto(twins, (GAIN, COST)).front == ["a", "b"]


def test_what_is_not_shown_decides_nothing() -> None:
    table = pareto({"a": {"gain": 0.5, "cost": 1.02}, "b": {"gain": 0.501, "cost": 1.0}}, (GAIN, COST))
    assert table.front == ["a", "b"]
    assert {COST.shown(row.figures["cost"]) for row in table.rows} == {"1"}


def test_a_missing_figure_is_the_worst_and_is_said() -> None:
    found = {
        "a": {"gain": 0.5, "cost": 1.0},
        "b": {"gain": 0.5, "cost": math.nan},
        "c": {"gain": math.nan},
        "d": {"gain": 0.6, "cost": math.nan},
    }
    table = pareto(found, MEASURES)
    assert {row.model: row.dominated_by for row in table.rows} == {
        "a": (),
        "b": ("d", "a"),
        "c": ("d", "a"),
        "d": (),
    }
    assert [measure.name for measure in table.measures] == ["gain", "cost"]
    assert table.missing() == [
        "lift of any model",
        "gain of c (counts as the worst)",
        "cost of d, b, c (counts as the worst)",
    ]
    assert table.rows[-1].verdict == "dominated by d and 1 more"
    value = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert value["not_measured"] == ["lift"]
    assert value["models"][0] == {
        "model": "d",
        "on_front": True,
        "dominated_by": [],
        "figures": {"gain": 0.6, "cost": None},
    }


def test_some_measures_alone_have_a_front_of_their_own() -> None:
    found = {
        "dear": {"gain": 0.5, "cost": 9.0, "lift": 0.0},
        "cheap": {"gain": 0.4, "cost": 1.0, "lift": 0.5},
        "plain": {"gain": 0.4, "cost": 2.0, "lift": 0.1},
        "unknown": {"gain": 0.9, "cost": math.nan, "lift": 0.0},
    }
    table = pareto(found, MEASURES)
    assert "plain" in table.front
    plane = table.within(["gain", "cost"])
    assert plane.front == ["dear", "cheap"]
    assert [row.model for row in plane.rows if not row.on_front] == ["plain"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, "-"), (0.0, "0"), (0.01234, "0.012"), (4.96, "5"), (1234.0, "1,200"), (2.5e7, "25,000,000")],
)
def test_costs_have_two_significant_digits(value: float, shown: str) -> None:
    assert significant(value) == shown


def test_popularity_lift_is_best_near_zero_and_costs_when_low() -> None:
    measures = {measure.name: measure for measure in measures_at(10)}
    lift, cost, accuracy = measures["lift@10"], measures[ANSWER_MS], measures["ndcg@10"]
    assert lift.badness(-0.1) < lift.badness(0.4) == lift.badness(-0.4)
    assert cost.badness(1.0) < cost.badness(2.0)
    assert accuracy.badness(0.2) < accuracy.badness(0.1) < accuracy.badness(math.nan)
    assert (lift.shown(0.4), accuracy.shown(0.12345), accuracy.shown(math.nan)) == ("+0.40", "0.1235", "-")
