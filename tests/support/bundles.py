"""Bundles for tests that fit nothing: real files, with figures as training would have measured them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recserve import Catalogue, Item
from recserve.bundles.manifest import ComponentEntry, DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.evaluation.findings import Findings
from recserve.evaluation.html.page import page
from recserve.store import Store
from recserve.training.promotion.files import measurement_file, report_page
from recserve.training.promotion.offline import Measurement
from tests.support.reports import report_of

UNTIL = 1_780_000_000_000


def write_bundle(
    home: Path,
    store: Store,
    *,
    seed: int = 0,
    ndcg: float = 0.1,
    data: str = "same",
    users: int = 200,
    measured: bool = True,
    params: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    created: int = UNTIL,
) -> str:
    """Write a bundle of one component and record it, with its measurement and its report.

    Args:
        home: The home folder.
        store: Its store.
        seed: Makes a bundle of its own.
        ndcg: Mean of what training measured.
        data: Fingerprint of its data.
        users: Users it was measured on.
        measured: Whether the measurement and the report are kept.
        params: Of its component.
        metrics: Further metrics.
        created: When it was recorded, milliseconds since the epoch.

    Returns:
        Its id.
    """
    values = _values(ndcg, users, seed)
    figures = {
        "ndcg@10": {"mean": float(values.mean()), "ci95": [ndcg - 0.01, ndcg + 0.01]},
        **(metrics or {}),
    }
    with BundleRepository(home).writer() as writer:
        writer.write_catalogue(Catalogue.of([Item("1", {"title": "One"}), Item("2", {"title": "Two"})]))
        writer.component_directory("retriever.popular")
        bundle = writer.finish(
            recserve_version="0",
            config={"train": {"seed": seed}, "encoder": {"params": {"api_key": "hush"}}},
            config_hash=f"hash-{seed}",
            seed=seed,
            data=DataEntry(fingerprint=data, users=users, items=2, events=users * 10, until=UNTIL),
            encoder_fingerprint=None,
            components={
                "retriever.popular": ComponentEntry(
                    plugin="popular",
                    distribution="recserve-popular",
                    version="0",
                    params=params or {},
                    facts={"seconds": 1},
                    saved=False,
                )
            },
            metrics=figures,
        )
    store.record_bundle(bundle.id, created, {"metrics": figures, "events": users * 10})
    if measured:
        measurement = Measurement(
            data=data, test_window=0.2, history=100, queries_per_user=50, values=values.tolist()
        )
        file = measurement_file(home, bundle.id)
        file.parent.mkdir(exist_ok=True)
        file.write_text(measurement.model_dump_json(), encoding="utf-8")
        report_page(home, bundle.id).write_text(
            page(Findings([report_of("pipeline", values.tolist(), items=2)])), encoding="utf-8"
        )
    return bundle.id


def _values(mean: float, users: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values of users about a mean: what makes some harder than others, and what only chance does."""
    chance = np.random.default_rng(seed).normal(0, 0.02, users)
    return mean + np.linspace(-0.05, 0.05, users) + chance - chance.mean()


def promoted(store: Store, bundle_ids: Sequence[str]) -> None:
    """Make bundles current, one after the other."""
    for bundle_id in bundle_ids:
        store.set_current(bundle_id)
