"""The page of an evaluation shows trade-offs as a table and a picture, where there are some."""

from __future__ import annotations

import math

from recserve.evaluation.findings import Findings
from recserve.evaluation.html.page import TradeOffs, page
from recserve.evaluation.metrics.cost import Cost
from recserve.evaluation.metrics.pareto import ANSWER_MS, measures_at, pareto
from tests.support.reports import report_of

FIGURES = {
    "dear": {"ndcg@10": 0.4, ANSWER_MS: 30.0},
    "cheap": {"ndcg@10": 0.1, ANSWER_MS: 0.02},
    "plain": {"ndcg@10": 0.1, ANSWER_MS: 0.5},
    "untimed": {"ndcg@10": 0.3},
}


def test_the_line_joins_what_nothing_beats_in_both_accuracy_and_time() -> None:
    view = TradeOffs.of(pareto(FIGURES, measures_at(10)))
    assert view.models == ["dear", "untimed", "cheap", "plain"], "the most accurate first"
    drawn = {point.model: (point.x, point.y, point.on_front) for point in view.points}
    assert all(view.models[point.mark.series] == point.model for point in view.points)
    assert set(drawn) == {"dear", "cheap", "plain"}, "without a cost there is no place"
    assert view.front == [drawn["cheap"][:2], drawn["dear"][:2]]
    assert not drawn["plain"][2]
    assert {point.model for point in view.labelled} == set(drawn), "there is room for all names"
    assert drawn["cheap"][0] < drawn["plain"][0] < drawn["dear"][0]


def test_names_that_would_cover_each_other_are_left_to_the_legend() -> None:
    close = {"mf": {"ndcg@10": 0.4, ANSWER_MS: 1.0}, "knn": {"ndcg@10": 0.401, ANSWER_MS: 1.1}}
    view = TradeOffs.of(pareto({**close, "popular": {"ndcg@10": 0.1, ANSWER_MS: 0.01}}, measures_at(10)))
    assert [point.on_front for point in view.points] == [True, True, True]
    assert [point.model for point in view.labelled] == ["knn", "popular"]


def test_without_times_there_is_a_table_and_no_picture() -> None:
    view = TradeOffs.of(pareto({name: {"ndcg@10": 0.1} for name in "ab"}, measures_at(10)))
    assert view.points == []
    assert [row.model for row in view.table.rows] == ["a", "b"]
    nothing = TradeOffs.of(pareto({"a": {}, "b": {}}, measures_at(10)))
    assert nothing.headings == ["", ""]


def rendered(**choices: dict[str, dict[str, float]]) -> str:
    whole = {"novelty@10": report_of("x", [4.0]).metrics["ndcg@10"]}
    reports = [
        report_of(name, [cost / 100], cost=Cost(cost, 1e6)) for name, cost in (("popular", 1.0), ("mf", 10.0))
    ]
    for report in reports:
        report.metrics.update(whole)  # type: ignore[attr-defined]
    tables = {name: pareto(found, measures_at(10)) for name, found in choices.items()}
    return page(Findings(reports, choices=tables))


def test_the_page_shows_models_and_what_training_chose_from() -> None:
    text = rendered(home=FIGURES)
    assert text.count("<h2>Trade-offs</h2>") == 1
    assert text.count("<h2>Trade-offs between parts of home</h2>") == 1
    assert "dominated by cheap" in text
    assert text.count('class="front"') == 2
    assert "CPU ms an answer of untimed (counts as the worst)" in text
    assert "Trade-offs between" not in rendered()


def test_a_single_model_has_no_trade_offs_but_its_cost() -> None:
    report = report_of("mf", [0.1], cost=Cost(2.345, math.nan))
    metrics = {**report.metrics, **{f"{name}@10": report.metrics["ndcg@10"] for name in ("novelty", "lift")}}
    text = page(Findings([report_of("mf", [0.1], cost=report.cost, metrics=metrics)]))
    assert "Trade-offs" not in text
    assert "<td>2.3</td><td>-</td>" in text
