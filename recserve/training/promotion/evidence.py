"""Evidence of every kind for and against a bundle, the weakest first, as the gate wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recserve.bundles.bundle import Bundle
from recserve.bundles.catalogue_vectors import Progress
from recserve.bundles.repository import BundleRepository
from recserve.config import Config
from recserve.plugin.registry import Registry
from recserve.serving.local import local_pipeline
from recserve.store import Store
from recserve.store.lake import LakeFolder
from recserve.training.fitting import silent
from recserve.training.promotion.experiments import experiment_findings
from recserve.training.promotion.gate import Finding, NotMeasuredError
from recserve.training.promotion.off_policy import off_policy
from recserve.training.promotion.offline import compare, compare_measured


@dataclass(frozen=True)
class Weighing:
    """What a home knows of its bundles.

    Attributes:
        home: The home folder.
        config: Its configuration.
        registry: All components; called where something has to be fitted or replayed.
        repository: Where its bundles live.
        store: Its store.
        progress: Called with (description, done, total).
        fits: Whether bundles that were not measured on the same data are fitted again to compare them, which
            takes as long as training.
    """

    home: Path
    config: Config
    registry: Callable[[], Registry]
    repository: BundleRepository
    store: Store
    progress: Progress = silent
    fits: bool = True

    def findings(self, current: str, candidate: Bundle, margin: float | None = None) -> list[Finding]:
        """What speaks for and against a bundle.

        Args:
            current: Id of the bundle that it would replace.
            candidate: The bundle; the store knows it.
            margin: Loss of nDCG@10 that passes; None for ``promotion.margin``.

        Raises:
            NotMeasuredError: The two were not measured on the same data, and nothing is to be fitted.
            ConfigError: A bundle's configuration does not work here any more.
        """
        before = self.repository.open(current)
        verdict = compare_measured(self.home, before, candidate)
        if verdict is None and not self.fits:
            raise NotMeasuredError(
                f"bundles {current} and {candidate.id} were not measured on the same data, and a server fits "
                "nothing to compare them",
                field="bundle_id",
            )
        if verdict is None:
            verdict = compare(
                self.home,
                self.config,
                self.registry(),
                before,
                candidate,
                self.store.snapshot,
                self.progress,
            )
        allowed = self.config.promotion.margin if margin is None else margin
        return [verdict.finding(allowed), *self._online(current, candidate)]

    def _online(self, current: str, candidate: Bundle) -> list[Finding]:
        """What was shown says of a bundle: estimates from what chance decided, and experiments with it."""
        store, config, lake = self.store, self.config, LakeFolder.of(self.config.store.lake)
        trained = next(known.created_ms for known in store.bundles() if known.bundle_id == candidate.id)
        estimated = off_policy(
            store,
            config,
            lambda: local_pipeline(self.registry().resolve(config), candidate, store),
            trained,
            lake,
        )
        seen = experiment_findings(store, config, candidate.id, current, lake)
        return [*([] if estimated is None else [estimated]), *seen]
