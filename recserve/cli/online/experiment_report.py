"""``recserve experiment report``: what each arm did, and what may be concluded."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from recserve.cli.common import DEFAULT_HOME, ConfigOption, HomeOption, State, out, warn

if TYPE_CHECKING:
    from recserve.experiments.report import ArmSizes, Comparison, ExperimentReport, Interleaved
    from recserve.outcomes.intervals import Interval

_TITLES = {
    "click_through_rate": "click-through rate",
    "conversion_rate": "conversion rate",
    "value_per_user": "value per user",
}


def report_command(
    name: Annotated[str, typer.Argument(help="Its name, from `recserve experiment list`.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    home: HomeOption = DEFAULT_HOME,
    config: ConfigOption = None,
) -> None:
    """Report what an experiment has shown so far. It may be read, and the experiment be stopped, on any day.

    Differences hold at every look at once (always-valid intervals); rates of arms are of this look.
    """
    from recserve.experiments.report import read_report
    from recserve.store.lake import LakeFolder

    state = State(home, config)
    with state.store as store:
        found = read_report(store, state.config, name, LakeFolder.of(state.config.store.lake))
    if as_json:
        out.print(json.dumps(found.plain(), ensure_ascii=False, indent=1), markup=False, soft_wrap=True)
        return
    _show(found)


def _show(found: ExperimentReport) -> None:
    state = f"{found.state}: {found.reason}" if found.reason else found.state
    out.print(
        f"experiment {found.experiment}, {state}; {_moment(found.started)} to {_moment(found.until)}",
        markup=False,
        soft_wrap=True,
    )
    if found.interleaving is not None:
        _show_interleaving(found.interleaving)
        return
    if found.sample_ratio is not None:
        _show_sizes(found.sample_ratio)
    if found.crossed:
        warn(f"{found.crossed:,} users saw more than one arm; they count for their first")
    _show_arms(found)
    _show_comparisons(found)


def _show_sizes(sizes: ArmSizes) -> None:
    counted = ", ".join(
        f"{arm} {users:,} of {expected:,.0f} expected"
        for arm, users, expected in zip(sizes.arms, sizes.users, sizes.expected, strict=True)
    )
    if sizes.mismatch:
        warn(
            f"sample ratio mismatch: users of {counted} (p {sizes.p_value:.2g}). Users of an arm were lost; "
            "rely on no figure below before the cause is known"
        )
    else:
        out.print(f"users as planned (p {sizes.p_value:.2g}): {counted}", markup=False, soft_wrap=True)


def _show_arms(found: ExperimentReport) -> None:
    from rich import box
    from rich.table import Table

    table = Table("arm", "users", "anonymous", "answers", "shown", *_TITLES.values(), "", box=box.SIMPLE)
    for arm in found.arms:
        cells = [_bounds(metric, arm.metrics[metric]) for metric in _TITLES]
        counts = [f"{count:,}" for count in (arm.users, arm.anonymous, arm.answers, arm.impressions)]
        table.add_row(arm.name, *counts, *cells, f"stopped: {arm.stopped}" if arm.stopped else "")
    out.print(table)


def _show_comparisons(found: ExperimentReport) -> None:
    from rich import box
    from rich.table import Table

    control = found.arms[0].name
    table = Table(
        f"minus {control}",
        "metric",
        "difference",
        "relative",
        "p",
        "verdict",
        "detectable",
        "users needed",
        box=box.SIMPLE,
    )
    for compared in found.comparisons:
        table.add_row(
            compared.arm,
            _TITLES[compared.metric] + (" (adjusted)" if compared.adjusted else ""),
            _bounds(compared.metric, compared.difference),
            "" if math.isnan(compared.relative) else f"{compared.relative:+.1%}",
            f"{compared.p_value:.2g}",
            compared.verdict,
            _number(compared.metric, compared.detectable),
            "" if compared.users_needed is None else f"{compared.users_needed:,}",
        )
    out.print(table)
    out.print(f"users needed: to find a change of {found.expected_change:.0%}", soft_wrap=True)
    if any(_unbounded(compared) for compared in found.comparisons):
        out.print("differences have bounds once each arm has 100 users who differ", soft_wrap=True)


def _show_interleaving(found: Interleaved) -> None:
    first, second = found.arms
    out.print(
        f"{found.users:,} users, {found.answers:,} pages, {found.impressions:,} items shown; clicks: {first} "
        f"{found.clicks[0]:,}, {second} {found.clicks[1]:,}, both {found.shared:,}",
        markup=False,
        soft_wrap=True,
    )
    preferred = _bounds("", found.preference) or "no clicks yet"
    out.print(
        f"preference for {second} (-1 to 1): {preferred}, p {found.p_value:.2g}: {found.verdict}",
        markup=False,
        soft_wrap=True,
    )


def _unbounded(compared: Comparison) -> bool:
    return not math.isfinite(compared.difference.low)


def _bounds(metric: str, interval: Interval) -> str:
    return interval.shown(partial(_number, metric))


def _number(metric: str, number: float) -> str:
    if math.isnan(number):
        return ""
    return f"{number:.2%}" if metric.endswith("rate") else f"{number:.3f}"


def _moment(milliseconds: int | None) -> str:
    return (
        "" if milliseconds is None else f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M}Z"
    )
