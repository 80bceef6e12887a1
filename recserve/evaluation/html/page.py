"""The page: one HTML document that holds everything it shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from recserve.evaluation.bootstrap import Interval
from recserve.evaluation.findings import Findings
from recserve.evaluation.html.plots import COLOURS, Mark, Row, bars, intervals, scatter
from recserve.evaluation.html.tables import (
    accuracy_table,
    beyond_table,
    cost_table,
    difference_table,
    signed,
    slice_table,
    span,
    stage_table,
)
from recserve.evaluation.metrics.by_stage import ALONE, END_TO_END, RANKING, RETRIEVAL, StageFigure
from recserve.evaluation.report import HEADINGS, Report

_GROUPS = {
    "users": "Cold and warm users",
    "history": "By events before the query",
    "items": "Cold and warm items",
    "popularity": "Head and tail",
}
_PLOTTED = ("ndcg", "hr", "recall")


def page(findings: Findings) -> str:
    """The whole document."""
    reports = findings.reports
    style = resources.files("recserve.evaluation.html").joinpath("style.css").read_text(encoding="utf-8")
    sections = [
        _accuracy(findings),
        _pairs(findings),
        _stages(reports),
        _slices(findings),
        _beyond(reports),
        _checks(findings),
        _method(findings),
    ]
    title = f"Evaluation, {reports[0].split} split"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{_header(findings, title)}\n" + "\n".join(one for one in sections if one) + "\n</main>\n"
        "</body>\n</html>\n"
    )


def _header(findings: Findings, title: str) -> str:
    first = findings.reports[0]
    facts = [
        (f"{first.users:,}", "users"),
        (f"{first.queries:,}", "queries"),
        (f"{first.queries_without_history:,}", "of them without any history"),
        (f"{first.items:,}", "items ranked"),
        (f"{len(findings.reports)}", "models"),
    ]
    shown = "".join(f"<li><b>{number}</b> {what}</li>" for number, what in facts)
    points = "".join(f"<li>{one}</li>" for one in _in_words(findings))
    note = f'<p class="banner">{escape(_sentence(first.note))}</p>' if first.note else ""
    return (
        f'<header><h1>{escape(title)}</h1><ul class="facts">{shown}</ul></header>{note}'
        f'<section><h2>In short</h2><ul class="findings">{points}</ul></section>'
    )


def _in_words(findings: Findings) -> list[str]:
    """What somebody who reads nothing else should know."""
    reports, metric = findings.reports, findings.metric
    best = max(reports, key=lambda one: one.metrics[metric].mean)
    words = [
        f"<b>{escape(best.model)}</b> is best: {_name(metric)} {span(best.metrics[metric])}, the hit rate at "
        f"{best.ks[0]} is {best.metrics[f'hr@{best.ks[0]}'].mean:.1%}."
    ]
    gain = findings.over_best_part
    if gain is not None:
        verdict = "significant" if gain.interval.excludes_zero else "not significant"
        words.append(
            f"The pipeline over the best of the other models, {escape(gain.second)}: "
            f"{signed(gain.interval)}, {verdict}."
        )
    pipeline = next((one for one in reports if one.stages), None)
    if pipeline is not None:
        merged = [one for one in pipeline.stages if one.stage == RETRIEVAL and one.metric != ALONE][-1]
        words.append(
            f"Retrieval puts {merged.interval.mean:.1%} of what users choose next among the candidates "
            f"({escape(merged.metric)}): no ranker can find more."
        )
    failed = [one for one in findings.all_checks if not one.passed]
    looked = len(findings.all_checks)
    if failed:
        words.append(f"<b>{len(failed)} of {looked} leak checks need a look</b>, see below.")
    elif looked:
        words.append(f"All {looked} leak checks passed.")
    return words


def _accuracy(findings: Findings) -> str:
    reports, k = findings.reports, findings.reports[0].ks[0]
    plots = []
    for name in _PLOTTED:
        metric = f"{name}@{k}"
        if name == "recall" and all(one.metrics[metric] == one.metrics[f"hr@{k}"] for one in reports):
            # One answer a query: the two are the same.
            continue
        rows = [
            Row(
                report.model,
                [_mark(number, report.metrics[metric], report.model)],
                span(report.metrics[metric]),
            )
            for number, report in enumerate(reports)
        ]
        plots.append(f"<figure>{intervals(rows, _name(metric), zero=True)}</figure>")
    return _section(
        "Accuracy",
        "Every model ranks the whole catalogue. Dots are means over users, whiskers 95% bootstrap intervals.",
        "".join(plots),
        f"<details><summary>All metrics</summary>{accuracy_table(reports)}</details>",
    )


def _pairs(findings: Findings) -> str:
    if len(findings.reports) < 2:
        return ""
    return _section(
        "Model against model",
        f"{_name(findings.metric)} of the row minus that of the column, over the same users, with its paired "
        "bootstrap interval. Coloured where the interval excludes zero. Pairing removes what makes some "
        "users easier than others, so differences show here that overlapping intervals would hide. Intervals "
        "are not corrected for the number of pairs.",
        difference_table(findings.reports, findings.differences),
    )


def _stages(reports: Sequence[Report]) -> str:
    pipeline = next((one for one in reports if one.stages), None)
    if pipeline is None:
        return ""
    number = list(reports).index(pipeline)
    retrieval = [one for one in pipeline.stages if one.stage == RETRIEVAL and one.metric != ALONE]
    recall = bars([_bar(number, one) for one in retrieval], "share found")
    first = f"ndcg@{pipeline.ks[0]}"
    later = [one for one in pipeline.stages if one.stage != RETRIEVAL and one.metric == first]
    labels = {RANKING: "given candidates: {}", END_TO_END: "end to end, all queries"}
    ranking = bars([_bar(number, one, labels[one.stage]) for one in later], _name(first))
    return _section(
        "Stage by stage",
        "What of the pipeline to work on. Retrieval bounds what ranking can reach; ranking is judged on the "
        "queries whose answer retrieval did find, so that it is not blamed for what it never saw.",
        f"<h3>Retrieval: recall of each source and of the merged candidates</h3><figure>{recall}</figure>"
        f"<h3>Ranking</h3><figure>{ranking}</figure>",
        f"<details><summary>All stage figures</summary>{stage_table(pipeline)}</details>",
    )


def _slices(findings: Findings) -> str:
    reports = [one for one in findings.reports if one.slices]
    if not reports:
        return ""
    parts = [_legend(findings.reports)]
    for group, heading in _GROUPS.items():
        names = [one.name for one in reports[0].slices if one.group == group]
        rows = []
        for name in names:
            figures = [report.part(name) for report in reports]
            marks = [
                _mark(number, one.metrics[findings.metric], f"{reports[number].model}, {name}")
                for number, one in enumerate(figures)
            ]
            rows.append(Row(name, marks, f"{figures[0].users:,} users, {figures[0].queries:,} queries"))
        if rows:
            plot = intervals(rows, _name(findings.metric), zero=True, labels=250)
            parts.append(f"<h3>{heading}</h3><figure>{plot}</figure>")
    return _section(
        "Who and what it works for",
        "Users are told apart by their events before the query, items by their positive training events. For "
        "items, only answers of that kind count. Head: the fewest most popular items that hold half of the "
        "training events.",
        "".join(parts),
        f"<details><summary>As a table</summary>{slice_table(reports)}</details>",
    )


def _beyond(reports: Sequence[Report]) -> str:
    first = reports[0]
    k = first.ks[0]
    marks = [
        (one.model, _mark(number, one.metrics[f"ndcg@{k}"], one.model), one.metrics[f"coverage@{k}"])
        for number, one in enumerate(reports)
    ]
    terms = [
        ("coverage", "share of the catalogue that anybody was shown"),
        ("Gini", "0 if all items are shown equally often, near 1 if a few get everything"),
        ("novelty", "mean self-information of what is shown: bits, higher is less expected"),
        ("diversity", f"mean cosine distance within a list, by vectors of {first.diversity_vectors}"),
    ]
    if first.attribute is not None:
        terms.append(
            (
                "miscalibration",
                f"divergence (KL, nats) of a list's {first.attribute} from those of the user's history; 0 is "
                "the user's own mix",
            )
        )
    terms.append(
        (
            "popularity lift",
            "by how much lists are more popular than the histories they are made for; 0: equally",
        )
    )
    listed = "".join(f"<dt>{escape(term)}</dt><dd>{escape(what)}</dd>" for term, what in terms)
    plot = scatter(marks, f"coverage@{k}", f"nDCG@{k}")
    return _section(
        "Beyond accuracy",
        "What a list is like, whether or not it hits.",
        f"<figure>{plot}</figure>{beyond_table(reports)}<dl>{listed}</dl>",
    )


def _checks(findings: Findings) -> str:
    if not findings.all_checks:
        return ""
    lines = []
    for one in findings.all_checks:
        pill = '<span class="pill good">passed</span>' if one.passed else '<span class="pill bad">look</span>'
        lines.append(f"<li>{pill}<span><b>{escape(one.name)}</b>: {escape(one.detail)}</span></li>")
    return _section(
        "Leak checks",
        "Run by themselves. A split that leaks is refused, so there would be no report; a check with a "
        "question needs somebody who knows the data.",
        f'<ul class="checks">{"".join(lines)}</ul>',
    )


def _method(findings: Findings) -> str:
    first = findings.reports[0]
    split = {
        "temporal": "One moment splits all data and models are frozen there. Each later event is predicted "
        "from what its user did strictly before it, also after the cut, because the server folds in as well.",
        "leave-one-out": "The last event of each user is predicted from those before. Models have seen what "
        "other users did later, so this split is for comparison with papers only.",
    }.get(first.split, "Each user's test items are predicted from all his training events.")
    command = ""
    if findings.command:
        command = f"<p>Command: <code>{escape(findings.command)}</code></p>"
    return _section(
        "How this was measured",
        f"{split} The whole catalogue is ranked, without what the user has had. A metric is averaged over a "
        "user's queries first and over users then; intervals are percentile bootstrap over users, seed "
        f"{first.seed}. <code>report.json</code> beside this page holds every figure, "
        "<code>per_user.parquet</code> the values of each user.",
        command + cost_table(findings.reports),
    )


def _section(heading: str, lead: str, *parts: str) -> str:
    return f'<section><h2>{escape(heading)}</h2><p class="muted">{lead}</p>{"".join(parts)}</section>'


def _legend(reports: Iterable[Report]) -> str:
    spans = [
        f'<span class="s{number % COLOURS}">{escape(one.model)}</span>' for number, one in enumerate(reports)
    ]
    return f'<div class="legend">{"".join(spans)}</div>'


def _bar(series: int, one: StageFigure, label: str = "{}") -> Row:
    text = label.format(one.part)
    note = span(one.interval)
    if one.stage == RETRIEVAL and one.metric.startswith("recall@"):
        text = f"{text} @{one.metric.removeprefix('recall@')}"
    return Row(text, [_mark(series, one.interval, f"{text}, {one.queries:,} queries")], note)


def _mark(series: int, interval: Interval, what: str) -> Mark:
    shown = "nothing" if math.isnan(interval.mean) else span(interval)
    return Mark(series, interval, f"{what}: {shown}")


def _name(metric: str) -> str:
    name, k = metric.split("@")
    return f"{HEADINGS[name]}@{k}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
