"""The default pipeline on data without times and texts is as good as its best part, and says why."""

from __future__ import annotations

import pytest

from recserve.config import parse_config
from recserve.data.dataset import Dataset
from recserve.evaluation import Report, RetrieverRecommender, evaluate
from recserve.evaluation.splits import by_user
from recserve.plugin.protocols import FitContext
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import Fitted, fit_all, fit_component, fit_pipeline, fit_windows
from recserve.training.selection.orders import FUSED, LEARNT
from recserve.training.selection.summary import choice_table, summary
from tests.support.interactions import Times, made_up_data

METRIC = "recall@20"


@pytest.fixture(scope="module")
def default() -> ResolvedConfig:
    retrievers = [
        {"use": "mf", "params": {"dimension": 16, "regularization": 0.004}},
        {"use": "content"},
        {"use": "popular", "candidates": 100},
    ]
    ranker = {"use": "bert_lstm", "params": {"width": 16, "epochs": 2}}
    home = {"retrievers": retrievers, "ranker": ranker}
    return Registry.discover().resolve(parse_config({"scenarios": {"home": home}, "train": {"threads": 1}}))


def context(data: Dataset) -> FitContext:
    return FitContext(event_types=data.event_types, threads=1)


@pytest.mark.parametrize("times", ["random", "file"])
def test_the_pipeline_is_as_good_as_its_best_part(default: ResolvedConfig, times: Times) -> None:
    split = by_user(made_up_data(times=times), 0.2, newest=False)
    fitted = fit_pipeline(default, split.training, context(split.training))
    pipeline = evaluate(fitted.recommender("home"), split, (20,), name="pipeline")
    parts: list[Report] = []
    for name in ("retriever.mf", "retriever.popular"):
        retriever, _ = fit_component(default.components()[name], split.training, context(split.training))
        parts.append(evaluate(RetrieverRecommender(retriever), split, (20,), name=name))
    best = max(parts, key=lambda report: report.metrics[METRIC].mean)
    assert best.model == "retriever.mf"
    assert pipeline.metrics[METRIC].mean > 0.98 * best.metrics[METRIC].mean
    assert pipeline.difference(best, METRIC).high >= 0


def test_what_cannot_help_is_never_fitted_and_the_choice_repeats_itself(default: ResolvedConfig) -> None:
    data = made_up_data()
    windows = fit_windows(default, data, context(data))
    assert set(windows.left_out) == {"retriever.content", "ranker.bert_lstm"}
    assert set(windows.objects) == {"retriever.mf", "retriever.popular"}
    again = fit_windows(default, data, context(data))
    assert again.orders == windows.orders
    whole = fit_all(default, data, context(data), windows)
    assert whole.orders == windows.orders
    assert set(whole.objects) == set(windows.objects)


def test_the_summary_names_every_part_with_figure_and_reason(default: ResolvedConfig) -> None:
    data = made_up_data()
    windows: Fitted = fit_windows(default, data, context(data))
    rows = {
        row.part: row
        for row in summary(
            default.scenarios["home"], windows.orders["home"], windows.seconds, windows.left_out
        )
    }
    assert list(rows) == [
        "mf",
        "content",
        "popular",
        "fused",
        "fused, learnt weights",
        "ranked by bert_lstm",
    ]
    assert rows["mf"].outcome.startswith(("serves", "proposes"))
    assert rows["mf"].seconds is not None
    assert rows["content"].outcome == "left out: no item has a text"
    assert rows["ranked by bert_lstm"].outcome.startswith("left out")
    assert all(not row.figures for row in rows.values()), "without measurements there are no trade-offs"
    low, high = windows.orders["home"].facts["ndcg@10"]["mf"]["ci95"]
    assert f"({low:.4f} to {high:.4f})" in rows["mf"].figure


def test_the_choice_is_shown_with_its_trade_offs_which_no_bundle_keeps(default: ResolvedConfig) -> None:
    data = made_up_data()
    windows = fit_windows(default, data, context(data))
    measured, sizes = windows.trade_offs["home"], windows.sizes("home")
    order = windows.orders["home"]
    assert set(measured) == set(order.facts["ndcg@10"]) == {"mf", "popular", FUSED, LEARNT}
    assert "answer_ms" not in str(order.facts)
    for figures in measured.values():
        assert 0 < figures["coverage@10"] <= 1
        assert figures["answer_ms"] > 0
    assert measured["popular"]["coverage@10"] < measured["mf"]["coverage@10"]
    assert measured["popular"]["novelty@10"] < measured["mf"]["novelty@10"]
    assert measured["popular"]["lift@10"] > measured["mf"]["lift@10"]

    pipeline = default.scenarios["home"]
    rows = {
        row.part: row for row in summary(pipeline, order, windows.seconds, windows.left_out, measured, sizes)
    }
    parts = [rows["mf"].figures, rows["popular"].figures]
    for name in ("megabytes", "fit_seconds"):
        assert rows[FUSED].figures[name] == pytest.approx(sum(part[name] for part in parts)), "all retrievers"
    assert rows["mf"].figures["megabytes"] > rows["popular"].figures["megabytes"] > 0
    assert rows["content"].figures == rows["ranked by bert_lstm"].figures == {}, "they were not measured"
    table = choice_table(list(rows.values()))
    assert {row.model for row in table.rows} == {"mf", "popular", FUSED, LEARNT}
    assert not table.missing()
    again = fit_windows(default, data, context(data))
    assert again.orders == windows.orders, "a choice does not depend on what is measured beside it"


def test_known_sizes_are_not_measured_again(default: ResolvedConfig) -> None:
    data = made_up_data()
    fitted = fit_all(default.without(["retriever.content", "ranker.bert_lstm"]), data, context(data))
    assert fitted.sizes("home", {"retriever.mf": 1.0})["retriever.mf"] == 1.0
