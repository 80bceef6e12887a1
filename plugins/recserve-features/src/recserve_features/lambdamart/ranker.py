"""The ranker ``lambdamart``: a feature set, and trees over it that learn from candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from recserve import Candidates, Catalogue, Dataset, FitContext, FloatArray, Queries, RankingExamples
from recserve_features.learning.feature_ranker import FeatureRanker
from recserve_features.parameters import LambdaMartParams

if TYPE_CHECKING:
    import lightgbm as lgb


class LambdaMart(FeatureRanker):
    """Orders candidates by boosted trees over features; see :mod:`recserve_features.lambdamart.trees`.

    Until trees are learnt, retrieval's order stays.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    name: ClassVar[str] = "lambdamart"

    def __init__(self, params: LambdaMartParams, catalogue: Catalogue) -> None:
        super().__init__(params, catalogue)
        self._params = params
        self._text = ""
        self._booster: lgb.Booster | None = None

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count features on all events; trees are those that were learnt from candidates before.

        Returns:
            ``features``: their names; ``trees_text``: which trees they are, where they were learnt before.
        """
        facts = self._count(data, context)
        previous = context.previous or {}
        self._use(str(previous.get("trees_text", "")))
        if "trees_text" in previous:
            # The trees are in the component's own file; a manifest says which they are.
            digest = hashlib.sha256(self._text.encode()).hexdigest()
            facts["trees_text"] = f"sha256:{digest}"
        return facts

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        """Learn trees; see :class:`recserve.LearnsFromCandidates`.

        Returns:
            ``decisions``, ``anchor`` and ``trees_text`` for the final fit; ``trees``: their number;
            ``validation``: nDCG@10 by number of trees on users held out; ``gains``: each feature's
            share of all gains; ``idle``: features that no tree uses.

        Raises:
            DataError: Times order events, and a query is not newer than events that features were counted on.
        """
        from recserve_features.lambdamart import trees

        chosen = self._examples(examples, context)
        self._use("")
        facts = self._decided()
        if chosen is None:
            return {**facts, "trees_text": "", "trees": 0}
        learnt = trees.learn(chosen, self._params, context.seed, context.threads, validated=context.validated)
        self._use(learnt.text)
        idle = [name for name, gain in learnt.gains.items() if gain == 0.0]
        gains = sorted(learnt.gains.items(), key=lambda pair: (-pair[1], pair[0]))
        return {
            **facts,
            "trees_text": learnt.text,
            "trees": learnt.trees,
            "validation": learnt.validation,
            "gains": {name: gain for name, gain in gains if gain > 0.0},
            "idle": idle,
        }

    def score(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """Anchor plus leaves, float32, shape (B, K), -inf at pads; without trees retrieval's scores."""
        real = candidates.items >= 0
        if self._booster is None or not real.any():
            return np.where(real, candidates.scores, np.float32(-np.inf)).astype(np.float32)
        scores = np.full(real.shape, -np.inf, dtype=np.float32)
        # One thread: a replica answers several requests at a time.
        trees = self._booster.predict(self.features(queries, candidates)[real], num_threads=1)
        scores[real] = trees + self._anchor.scores(candidates)[real]
        return scores

    def contributions(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """What each feature adds to each candidate's score (TreeSHAP, Lundberg et al. 2020).

        Returns:
            float32, shape (B, K, F), in the order of :attr:`feature_names`; a score is the sum of its
            contributions, what the order that trees start from counts, and a constant. Zeros at pads, and
            throughout without trees.
        """
        real = candidates.items >= 0
        found = np.zeros((*real.shape, len(self.feature_names)), dtype=np.float32)
        if self._booster is not None and real.any():
            rows = self.features(queries, candidates)[real]
            found[real] = np.asarray(self._booster.predict(rows, pred_contrib=True, num_threads=1))[:, :-1]
        return found

    def save(self, directory: Path) -> None:
        """Write declarations and trees as JSON, and what was counted; nothing of any user."""
        self._write(directory, {"trees": self._text.splitlines()})

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        self._read(
            directory, lambda facts: self._use("\n".join([*facts["trees"], ""]) if facts["trees"] else "")
        )

    def _use(self, text: str) -> None:
        """Rank by these trees; by none if the text is empty."""
        booster = None
        if text:
            from recserve_features.lambdamart.trees import loaded

            booster = loaded(text)
            if booster.num_feature() != len(self._inputs.names()):
                raise ValueError(
                    f"trees of {booster.num_feature()} features do not fit {len(self._inputs.names())}"
                )
        self._text, self._booster = text, booster
