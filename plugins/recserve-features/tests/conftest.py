"""Made-up queries with candidates, of which a rule chooses some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from recserve_features.deepfm.ranker import DeepFm
from recserve_features.inputs.clock import DAY_MS, part_of
from recserve_features.lambdamart.ranker import LambdaMart
from recserve_features.parameters import DeepFmParams, LambdaMartParams

from recserve import Candidates, Dataset, FitContext, Queries, RankingExamples

Rule = Callable[[Queries, np.ndarray], np.ndarray]
FeatureRanker = LambdaMart | DeepFm


@dataclass(frozen=True)
class MadeUp:
    """Makes examples, teaches a ranker, asks it."""

    def examples(self, data: Dataset, choose: Rule, batch: int = 300, seed: int = 5) -> RankingExamples:
        """Queries of the days after the data, twelve candidates each, of which a rule chooses some.

        Args:
            data: Where histories are from.
            choose: Labels, bool, shape (B, K), for queries and the topics of their candidates.
            batch: B.
            seed: Of everything random.
        """
        rng = np.random.default_rng(seed)
        users = np.sort(rng.integers(0, data.n_users, batch))
        times = int(data.timestamps[-1]) + 1 + rng.integers(0, 30 * DAY_MS, batch)
        queries = Queries.of(data.histories.select(users), times)
        devices = rng.choice(["desktop", "phone"], batch)
        queries = replace(queries, contexts=tuple({"device": str(device)} for device in devices))
        items = np.stack([rng.permutation(data.n_items)[:12] for _ in range(batch)]).astype(np.int32)
        scores = -np.broadcast_to(np.arange(12, dtype=np.float32), items.shape)
        shown = Candidates(
            items, scores, ("mf",), scores[:, :, None].copy(), np.full(items.shape, -1, np.int32)
        )
        labels = choose(queries, items % 4).astype(np.float32)
        return RankingExamples(queries, shown, labels, users.astype(np.int32))

    def at_weekends(self, queries: Queries, topics: np.ndarray) -> np.ndarray:
        """Space and cooking on weekdays, gardens and trains at weekends."""
        return (topics // 2) == part_of(queries.times, "weekend", "UTC")[:, None]

    def on_phones(self, queries: Queries, topics: np.ndarray) -> np.ndarray:
        """Space and cooking on a desktop, gardens and trains on a phone."""
        phone = np.array([context.get("device") == "phone" for context in queries.contexts])
        return (topics // 2) == phone[:, None]

    def ranker(self, kind: str, data: Dataset, **params: Any) -> FeatureRanker:
        """A ranker, not fitted yet, that learns in a moment."""
        if kind == "lambdamart":
            return LambdaMart(
                LambdaMartParams.model_validate({"trees": 20, "min_leaf": 10, **params}), data.catalogue
            )
        return DeepFm(
            DeepFmParams.model_validate(
                {"epochs": 12, "learning_rate": 0.01, "width": 4, "hidden": (16,), **params}
            ),
            data.catalogue,
        )

    def learnt(
        self,
        kind: str,
        data: Dataset,
        taught: RankingExamples,
        threads: int = 1,
        seed: int = 0,
        **params: Any,
    ) -> tuple[FeatureRanker, Mapping[str, Any]]:
        """A ranker that has learnt from examples, and what it reported."""
        built = self.ranker(kind, data, **params)
        context = FitContext(threads=threads, seed=seed, device="cpu")
        built.fit(data, context)
        return built, built.fit_candidates(taught, context)

    def right(self, ranker: FeatureRanker, asked: RankingExamples) -> float:
        """Share of queries whose first candidate was chosen."""
        first = ranker.score(asked.queries, asked.candidates).argmax(axis=1)
        return float(asked.labels[np.arange(len(first)), first].mean())


@pytest.fixture
def made_up() -> MadeUp:
    """Examples, and rankers that learn from them."""
    return MadeUp()
