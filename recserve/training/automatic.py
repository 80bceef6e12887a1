"""Automatic choice of a pipeline: which installed retrievers and rankers enter it, and with which weights.

Retrievers are fitted and measured first, on events held out of the training data. A ranker is then tried on
what all of them propose, on a part of the users first where there are many events: a retriever that finds
little by itself may find what the ranker would put first. If the ranker's order is better than any without
it, all of them stay; otherwise those that the best order of candidates gives a weight. Where items have
texts, ``search`` is added as the default configuration has it: there is no behaviour to choose its parts by.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import yaml

from recserve.bundles.manifest import OrderEntry
from recserve.config import (
    DEFAULT_SCENARIO,
    SEARCH_SCENARIO,
    ComponentConfig,
    Config,
    default_scenarios,
    parse_config,
    plain_config,
)
from recserve.data.dataset import Dataset
from recserve.errors import ConfigError, DataError
from recserve.plugin.protocols import FitContext, Stage
from recserve.plugin.registry import Registry
from recserve.plugin.resolved import ResolvedConfig
from recserve.training.fitting import Fitted, fit_component, fit_encoder, fit_windows
from recserve.training.selection.orders import BELOW, METRIC
from recserve.training.selection.summary import FILLS_UP, SummaryRow, summary
from recserve.training.selection.unsuited import has_texts, unsuited_parts
from recserve.training.selection.validation import next_window

TRIAL_EVENTS = 200_000
"""With twice as many events a ranker is tried on users who have this many together before it gets all."""


@dataclass(frozen=True)
class AutomaticPipeline:
    """A pipeline that was chosen for some data.

    Attributes:
        resolved: The configuration with it as its scenario, and with ``search`` where there are texts; as it
            was where there is too little data.
        windows: Its components, fitted on the earlier window; see :func:`fit_windows`.
        rows: What was tried, with figures, seconds and reasons.
    """

    resolved: ResolvedConfig
    windows: Fitted
    rows: Sequence[SummaryRow]

    def as_yaml(self, written: Mapping[str, Any]) -> str:
        """A configuration file that holds the pipeline, with the reasons as comments.

        Args:
            written: What the file should hold beside the scenario.
        """
        scenarios = plain_config(self.resolved.config)["scenarios"]
        lines = [
            "# Chosen by `recserve train --auto`; change what you like, it will not be overwritten unasked."
        ]
        lines += ["# nDCG@10 (95% interval) on events held out of the training data:"]
        for row in self.rows:
            lines.append(f"#   {row.part:<24} {row.figure:<28} {' '.join(row.outcome.split())}".rstrip())
        plain = {**written, "scenarios": scenarios}
        return "\n".join(lines) + "\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def choose_pipeline(
    registry: Registry, config: Config, data: Dataset, context: FitContext
) -> AutomaticPipeline:
    """Choose the parts of the default scenario from all installed retrievers and rankers.

    Args:
        registry: All components.
        config: Everything but the scenarios is taken from here.
        data: Training data.
        context: Seed, progress, device, threads.

    Raises:
        ConfigError: No retriever suits the data.
    """
    wide = _resolve(registry, config, [{"use": name} for name in _retrievers(registry, config)])
    tried = _fit_each(wide, data, context)
    wide = wide.without(tried.left_out)
    first = fit_windows(wide, data, context, tried)
    sizes = first.sizes(DEFAULT_SCENARIO)
    order = first.orders.get(DEFAULT_SCENARIO)
    rows = _rows(wide, first, tried.seconds, sizes)
    unsuited = [
        SummaryRow(key.partition(".")[2], "", tried.seconds.get(key), f"left out: {why}")
        for key, why in tried.left_out.items()
    ]
    if order is None:
        asked = registry.resolve(config)
        return AutomaticPipeline(asked, fit_windows(asked, data, context, first), [*rows, *unsuited])
    texts = has_texts(wide, data.catalogue)
    search = _search(registry, config) if texts else {}
    everything = [{"use": part.name} for part in wide.scenarios[DEFAULT_SCENARIO].retrievers]
    for name in registry.names(Stage.RANKER):
        if not registry.choose(Stage.RANKER, ComponentConfig(use=name), "--auto").component.automatic:
            continue
        if not _has_vectors(registry, config, Stage.RANKER, name):
            why = "left out: it reads texts, and 'encoder' is null"
            unsuited.append(SummaryRow(f"ranked by {name}", "", None, why))
            continue
        ranked = _resolve(registry, config, everything, name, search)
        reason = _why_not(ranked, data, context)
        if reason is not None:
            unsuited.append(SummaryRow(f"ranked by {name}", "", None, f"left out: {reason}"))
            continue
        windows = fit_windows(ranked, data, context, first)
        ranked_order = windows.orders.get(DEFAULT_SCENARIO)
        seconds = {**tried.seconds, **windows.seconds}
        ranked_rows = _rows(ranked, windows, seconds, windows.sizes(DEFAULT_SCENARIO, sizes))
        if ranked_order is None or ranked_order.ranked:
            return AutomaticPipeline(ranked, windows, [*ranked_rows, *unsuited])
        rows.append(ranked_rows[-1])
    kept = _kept(wide, order, texts)
    names = {part["use"] for part in kept}
    rows = [row if row.part in names else _dropped(row) for row in rows]
    chosen = _resolve(registry, config, kept, further=search)
    return AutomaticPipeline(chosen, fit_windows(chosen, data, context, first), [*rows, *unsuited])


def _rows(
    resolved: ResolvedConfig, windows: Fitted, seconds: Mapping[str, float], sizes: Mapping[str, float]
) -> list[SummaryRow]:
    """What was measured of the default scenario, with its trade-offs."""
    order, measured = windows.orders.get(DEFAULT_SCENARIO), windows.trade_offs.get(DEFAULT_SCENARIO)
    return summary(resolved.scenarios[DEFAULT_SCENARIO], order, seconds, {}, measured, sizes)


def _dropped(row: SummaryRow) -> SummaryRow:
    """The row of a retriever that the best order gives no weight; other rows as they are."""
    if row.outcome != FILLS_UP:
        return row
    return replace(row, outcome="left out: the best order gives it no weight")


def _resolve(
    registry: Registry,
    config: Config,
    retrievers: Sequence[Mapping[str, Any]],
    ranker: str | None = None,
    further: Mapping[str, Any] | None = None,
) -> ResolvedConfig:
    """The configuration with a scenario of these parts, and further ones."""
    scenario: dict[str, Any] = {"retrievers": list(retrievers)}
    if ranker is not None:
        scenario["ranker"] = {"use": ranker}
    plain = {**plain_config(config), "scenarios": {DEFAULT_SCENARIO: scenario, **(further or {})}}
    return registry.resolve(parse_config(plain, "chosen configuration"))


def _search(registry: Registry, config: Config) -> dict[str, Any]:
    """The scenario ``search`` of the default configuration with those of its retrievers that are there."""
    search = default_scenarios()[SEARCH_SCENARIO]
    installed = registry.names(Stage.RETRIEVER)
    there = [
        part
        for part in search.retrievers
        if part.use in installed and _has_vectors(registry, config, Stage.RETRIEVER, part.use)
    ]
    if not there:
        return {}
    scenario = search.model_copy(update={"retrievers": tuple(there)})
    return {SEARCH_SCENARIO: scenario.model_dump(mode="json", exclude_unset=True)}


def _has_vectors(registry: Registry, config: Config, stage: Stage, name: str) -> bool:
    """Whether a component has the text vectors that it reads, if it reads any."""
    chosen = registry.choose(stage, ComponentConfig(use=name), "--auto")
    return config.encoder is not None or not chosen.needs_vectors


def _retrievers(registry: Registry, config: Config) -> list[str]:
    """Retrievers that may enter: with default parameters, in a bundle, and not a ranker's other half."""
    names = [name for name in registry.names(Stage.RETRIEVER) if _may_enter(registry, config, name)]
    if not names:
        raise ConfigError("--auto: no installed retriever can be chosen; list some under 'scenarios'")
    return names


def _may_enter(registry: Registry, config: Config, name: str) -> bool:
    try:
        chosen = registry.choose(Stage.RETRIEVER, ComponentConfig(use=name), "--auto")
    except ConfigError:
        # It has parameters without a default: only people know what to say there.
        return False
    component = chosen.component
    barred = component.not_in_bundles
    return (
        component.automatic
        and name not in registry.names(Stage.RANKER)
        and (barred is None or barred(chosen.params) is None)
        and (config.encoder is not None or not chosen.needs_vectors)
    )


def _fit_each(resolved: ResolvedConfig, data: Dataset, context: FitContext) -> Fitted:
    """The retrievers on the earlier window, without those that do not suit the data or refuse it."""
    config = resolved.config.train
    fitted = Fitted(resolved, data.catalogue, left_out=unsuited_parts(resolved, data))
    try:
        split = next_window(data, config, repeats=False)
    except DataError:
        return fitted
    training = fit_encoder(fitted, split.training, context, Fitted(resolved, data.catalogue))
    for part in resolved.without(fitted.left_out).scenarios[DEFAULT_SCENARIO].retrievers:
        started = time.perf_counter()
        try:
            built, facts = fit_component(part, training, context)
        except DataError as error:
            fitted.left_out[part.key] = error.message
            continue
        fitted.objects[part.key], fitted.facts[part.key] = built, facts
        fitted.seconds[part.key] = time.perf_counter() - started
    return fitted


def _kept(resolved: ResolvedConfig, order: OrderEntry, texts: bool) -> list[dict[str, Any]]:
    """Retrievers that the best order gives a weight, and those that read texts where there are some."""
    kept = []
    for part in resolved.scenarios[DEFAULT_SCENARIO].retrievers:
        weight = order.weights.get(part.name, 1.0)
        if weight > BELOW:
            kept.append({"use": part.name, "weight": weight})
        elif part.needs_vectors and texts:
            kept.append({"use": part.name})
    return kept


def _why_not(resolved: ResolvedConfig, data: Dataset, context: FitContext) -> str | None:
    """Why the scenario's ranker should not get all data, None if it should."""
    ranker = resolved.scenarios[DEFAULT_SCENARIO].ranker
    if ranker is None:
        return None
    if (why := unsuited_parts(resolved, data).get(ranker.key)) is not None:
        return why
    if len(data) <= 2 * TRIAL_EVENTS:
        return None
    users = np.random.default_rng(context.seed).random(data.n_users) < TRIAL_EVENTS / len(data)
    few = data.where(users[data.users])
    order = fit_windows(resolved, few, context).orders.get(DEFAULT_SCENARIO)
    if order is None or order.ranked:
        return None
    difference = order.facts["ranked_over_best_other"][METRIC]["mean"]
    return f"on a sample of {len(few):,} events its order changed nDCG@10 by {difference:+.4f}"
