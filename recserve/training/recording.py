"""What is kept of a training run beside its bundle: the store's record, its measurement, its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recserve.config import Config
from recserve.data.dataset import Tables
from recserve.data.entities import now_ms
from recserve.evaluation.findings import Findings
from recserve.store import Store
from recserve.training.promotion.files import report_page
from recserve.training.promotion.offline import keep_measurement
from recserve.training.trainer import TrainingResult


def record_training(
    home: Path, config: Config, store: Store, tables: Tables, result: TrainingResult, deletions: int
) -> None:
    """Tell the store of a new bundle, and keep what training measured for later promotions.

    Args:
        home: The home folder.
        config: The configuration that was trained.
        store: The store; the bundle becomes known there, not current.
        tables: The snapshot that was trained on.
        result: The finished run.
        deletions: :attr:`recserve.store.Pulse.deletions` before the snapshot was taken.
    """
    bundle = result.bundle
    summary: dict[str, Any] = {
        "metrics": dict(result.metrics),
        "seconds": dict(result.seconds),
        # Servers follow the catalogue from here on; see recserve.serving.state.live_catalogue.
        "catalogue_version": tables.version,
        # Retraining counts from here what has come in since, and learns from here what was trained.
        "config_hash": bundle.manifest.config_hash,
        "seed": bundle.manifest.seed,
        "events": tables.events.num_rows,
        "last_event": tables.last_event,
        "deletions": deletions,
        # What a quick run left out is a reason to train again.
        "postponed": list(bundle.manifest.postponed),
    }
    store.record_bundle(bundle.id, now_ms(), summary)
    keep_measurement(home, config, result)
    reports = home / "reports"
    reports.mkdir(exist_ok=True)
    told = {**summary, "choices": {name: table.to_json() for name, table in result.choices.items()}}
    (reports / f"{bundle.id}.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    if result.report is not None:
        from recserve.evaluation.html.page import page

        report_page(home, bundle.id).write_text(
            page(Findings([result.report], choices=result.choices)), encoding="utf-8"
        )
