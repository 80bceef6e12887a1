"""The report of a study: one HTML file without scripts, readable without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from recserve.training.tuning import charts
from recserve.training.tuning.importance import FEWEST, importances
from recserve.training.tuning.log import TrialRecord, TrialState
from recserve.training.tuning.space import Dimension
from recserve.training.tuning.targets import Target

if TYPE_CHECKING:
    from recserve.training.tuning.results import Comparison, Result

_AXES, _BARS = 10, 20
_STYLE = """
:root{--ink:#1d2733;--soft:#5d6b7a;--line:#dfe5ea;--paper:#fff;--accent:#0b6e99;--warm:#c2571a}
@media (prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#94a3b1;--line:#2e3a45;--paper:#141a20;
--accent:#52b4dc;--warm:#f0955a}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:900px;
margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.6rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.5rem 0 .5rem}
p{margin:.4rem 0}.soft{color:var(--soft)}.verdict{font-size:1.1rem;margin:1rem 0}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.875rem;width:100%}
th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left}
tr.best td{font-weight:700;color:var(--accent)}tr.off td{color:var(--soft)}
.scroll{overflow-x:auto}svg{width:100%;height:auto;display:block}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .tick{fill:var(--soft);font-size:11px}
svg .label{font-size:12px}.end{text-anchor:end}.middle{text-anchor:middle}
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.grid{stroke:var(--line)}.axis{stroke:var(--soft)}.default{stroke:var(--warm);stroke-dasharray:5 4}
.best{fill:none;stroke:var(--accent);stroke-width:2}.dot{fill:var(--accent)}.bar{fill:var(--accent)}
.cross{fill:none;stroke:var(--soft);stroke-width:1.5}
.through{fill:none;stroke:var(--accent);stroke-width:1.5}.through.top{stroke:var(--warm);stroke-width:3}
"""


def render(result: Result, target: Target) -> str:
    """The whole page."""
    trials = result.trials
    dimensions = target.space.dimensions
    shares = importances(trials, dimensions)
    counts = {state: sum(one.state is state for one in trials) for state in TrialState}
    made = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    where = f" of scenario {result.study.scenario}" if target.whole else ""
    shown = _most_important(dimensions, shares)
    title = "Parameters and scores"
    if len(shown) < len(dimensions):
        title += f": {len(shown)} of {len(dimensions)} parameters" + (
            ", the most important" if shares else ""
        )
    plots = [
        ("Trials", charts.history(trials)),
        (title, charts.parallel(trials, shown)),
        (
            "What mattered",
            charts.importance(dict(list(shares.items())[:_BARS]))
            if shares
            else f'<p class="soft">Fewer than {FEWEST} complete trials: nothing can be said.</p>',
        ),
    ]
    body = [
        f"<h1>Tuning {escape(target.name)}{escape(where)}</h1>",
        f'<p class="soft">{len(trials)} trials ({made}), seed {result.study.seed}; nDCG@10, full '
        "ranking.</p>",
        f'<p class="verdict">{escape(verdict(result))}</p>',
        _windows(result),
        *(f"<h2>{title}</h2>{plot}" for title, plot in plots),
        "<h2>Best values</h2>",
        _values(result),
        "<h2>All trials</h2>",
        _table(trials, result.best.number),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Tuning {escape(target.name)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _most_important(dimensions: Sequence[Dimension], shares: Mapping[str, float]) -> list[Dimension]:
    """As many parameters as there is room for axes, in their own order."""
    ranked = sorted(dimensions, key=lambda one: -shares.get(one.name, 0.0))[:_AXES]
    return [one for one in dimensions if one in ranked]


def verdict(result: Result) -> str:
    """One sentence: whether tuning paid, going by the test window where it was measured."""
    if result.challenger.number == 0:
        return "No other trial is complete."
    judged, window = (result.validation, "validation") if result.test is None else (result.test, "test")
    difference = judged.difference
    shown = f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
    trial, where = f"Trial {result.challenger.number}", f"on the {window} window"
    if result.default_is_best:
        return f"No trial beat the configured values; the closest is {trial.lower()}, {where}: {shown}."
    if difference.low > 0:
        return f"{trial} beats the configured values {where} by {shown}."
    if difference.high < 0:
        return f"{trial} is worse than the configured values {where}: {shown}."
    return f"{trial} and the configured values cannot be told apart {where}: {shown}."


def _windows(result: Result) -> str:
    def row(name: str, one: Comparison, note: str) -> list[Any]:
        interval = one.difference
        return [
            name,
            f"{one.default:.4f}",
            f"{one.best:.4f}",
            f"{interval.mean:+.4f}",
            f"{interval.low:+.4f} to {interval.high:+.4f}",
            one.users,
            note,
        ]

    rows = [row("validation", result.validation, "chosen by it, so it flatters the best")]
    if result.test is not None:
        rows.append(row("test", result.test, "nothing was chosen by it"))
    heading = [
        "window",
        "configured",
        f"trial {result.challenger.number}",
        "difference",
        "95% interval",
        "users",
        "",
    ]
    return _html_table(heading, (("", one) for one in rows))


def _values(result: Result) -> str:
    default = next(one for one in result.trials if one.number == 0)
    rows = [
        (
            "best" if value != default.values.get(name) else "",
            [name, _show(default.values.get(name)), _show(value)],
        )
        for name, value in result.best.values.items()
    ]
    return _html_table(["parameter", "configured", "best"], rows)


def _table(trials: Sequence[TrialRecord], best: int) -> str:
    names = list(trials[0].values)
    rows = []
    for one in trials:
        kind = "best" if one.number == best else "" if one.state is TrialState.COMPLETE else "off"
        score = "" if one.score is None else f"{one.score:.4f}"
        seconds = "" if one.fit_seconds is None else f"{one.fit_seconds:.0f} s"
        own = f"{one.validations[-1][1]:.4f} at {one.validations[-1][0]}" if one.validations else ""
        shown = [_show(one.values.get(name)) for name in names]
        rows.append((kind, [one.number, one.state.value, score, own, seconds, *shown]))
    return _html_table(["trial", "state", "nDCG@10", "own validation", "fit", *names], rows)


def _html_table(heading: Sequence[str], rows: Iterable[tuple[str, Sequence[Any]]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heading)
    body = "".join(
        f'<tr class="{kind}">' + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>"
        for kind, cells in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _show(value: Any) -> str:
    if value is None:
        return "auto"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
