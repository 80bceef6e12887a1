"""The ranker ``lambdamart``: a feature set, and trees over it that learn from candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recserve import (
    BoolArray,
    BundleError,
    Candidates,
    Catalogue,
    DataError,
    Dataset,
    FitContext,
    FloatArray,
    Queries,
    RankingExamples,
    read_array,
)
from recserve_features.anchor import Anchor
from recserve_features.inputs.feature_set import FeatureSet
from recserve_features.inputs.schema import default_features
from recserve_features.parameters import LambdaMartParams

if TYPE_CHECKING:
    import lightgbm as lgb

    from recserve_features.trees import Examples

_FILE = "features.json"
_TABLES = "tables.npy"
_FORMAT = 1
# Queries whose features are computed at once.
_QUERIES = 128


class LambdaMart:
    """Orders candidates by boosted trees over features; see :mod:`recserve_features.trees`.

    Features are counted in :meth:`fit` on the earlier window, trees learn in :meth:`fit_candidates` from
    candidates of queries of the next one. So what a feature knows when the trees learn is older than what is
    to be predicted, as it is when they serve. Until trees are learnt, retrieval's order stays. Once fitted or
    loaded it may be asked from several threads.

    Args:
        params: Parameters.
        catalogue: The items.
    """

    def __init__(self, params: LambdaMartParams, catalogue: Catalogue) -> None:
        self._params = params
        self._catalogue = catalogue
        self._inputs = FeatureSet.of({}, catalogue, params.time_zone)
        self._anchor = Anchor()
        self._text = ""
        self._booster: lgb.Booster | None = None

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.names()

    @property
    def counted_until(self) -> int:
        """Time of the newest event that any feature knows of; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.counted_until

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Count features on all events; trees are those that were learnt from candidates before.

        Returns:
            ``features``: their names; ``declared``: their declarations, where they follow from the data.
        """
        previous = context.previous or {}
        if "decisions" in previous:
            inputs = FeatureSet.decided(previous["decisions"], self._catalogue)
        else:
            declared = self._params.features or default_features(data, self._params.time_zone)
            inputs = FeatureSet.of(declared, self._catalogue, self._params.time_zone)
        if "anchor" in previous:
            self._anchor = Anchor.from_json(previous["anchor"])
        context.progress("counting features", 0, 1)
        self._inputs = inputs.counted(data)
        self._use(str(previous.get("trees_text", "")))
        facts: dict[str, Any] = {"features": list(self._inputs.names())}
        if "trees_text" in previous:
            # The trees are in the component's own file; a manifest says which they are.
            digest = hashlib.sha256(self._text.encode()).hexdigest()
            facts |= {"trees_text": f"sha256:{digest}"}
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
        from recserve_features import trees

        self._check_times(examples.queries)
        queries, candidates = examples.queries, examples.candidates
        self._inputs = self._inputs.learnt(candidates.sources, queries.contexts)
        chosen = self._examples(examples, context)
        self._use("")
        facts = {"decisions": self._inputs.decisions(), "anchor": self._anchor.to_json()}
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

    def features(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """What the trees read of each candidate; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.compute(queries, candidates)

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
        inputs = self._inputs
        facts = {
            "format": _FORMAT,
            "decisions": inputs.decisions(),
            "counted_until": inputs.counted_until,
            "timed": inputs.timed,
            "anchor": self._anchor.to_json(),
            "items": len(self._catalogue),
            "shapes": {name: list(table.shape) for name, table in inputs.tables.items()},
            "trees": self._text.splitlines(),
        }
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        (directory / _FILE).write_text(text + "\n", encoding="utf-8")
        flat = np.concatenate([np.empty(0), *(table.ravel() for table in inputs.tables.values())])
        np.save(directory / _TABLES, flat[None], allow_pickle=False)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises:
            BundleError: A file is missing, damaged, or made for another catalogue.
        """
        flat = read_array(directory / _TABLES, np.float64, (1, None))[0]
        try:
            facts = json.loads((directory / _FILE).read_text(encoding="utf-8"))
            if facts["format"] != _FORMAT:
                raise ValueError(f"format {facts['format']} was written by another version")
            if facts["items"] != len(self._catalogue):
                raise ValueError(f"it is about {facts['items']} items, not {len(self._catalogue)}")
            inputs = FeatureSet.decided(facts["decisions"], self._catalogue)
            self._anchor = Anchor.from_json(facts["anchor"])
            self._inputs = inputs.restored(
                flat, facts["shapes"], int(facts["counted_until"]), bool(facts["timed"])
            )
            self._use("\n".join([*facts["trees"], ""]) if facts["trees"] else "")
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = " ".join(str(error).split())
            raise BundleError(f"{directory / _FILE} cannot be read: {cause}; train again") from None

    def _use(self, text: str) -> None:
        """Rank by these trees; by none if the text is empty."""
        booster = None
        if text:
            from recserve_features.trees import loaded

            booster = loaded(text)
            if booster.num_feature() != len(self._inputs.names()):
                raise ValueError(
                    f"trees of {booster.num_feature()} features do not fit {len(self._inputs.names())}"
                )
        self._text, self._booster = text, booster

    def _check_times(self, queries: Queries) -> None:
        inputs = self._inputs
        if inputs.timed and len(queries) and int(queries.times.min()) <= inputs.counted_until:
            late = int((queries.times <= inputs.counted_until).sum())
            raise DataError(
                f"leak: {late} of {len(queries)} queries that lambdamart is to learn from are not newer than "
                "the events that its features were counted on"
            )

    def _examples(self, examples: RankingExamples, context: FitContext) -> Examples | None:
        """Candidates to learn from: of queries with a hit, all hits and some of the others; None for none."""
        from recserve_features.trees import Examples

        real = examples.candidates.items >= 0
        hits = real & (examples.labels > 0)
        useful = hits.any(axis=1) & (real & ~hits).any(axis=1)
        if not useful.any():
            return None
        kept = _kept(real, hits, self._params.negatives, np.random.default_rng(context.seed))
        kept[~useful] = False
        self._anchor = Anchor.learnt(
            examples.candidates.of_queries(np.flatnonzero(useful)), hits[useful], examples.users[useful]
        )
        base = self._anchor.scores(examples.candidates)[kept]
        parts = []
        for start in range(0, len(kept), _QUERIES):
            stop = min(start + _QUERIES, len(kept))
            part = examples.candidates.of_queries(slice(start, stop))
            chosen = kept[start:stop]
            parts.append(self._inputs.compute(examples.queries.part(start, stop), part, chosen)[chosen])
            context.progress("features of candidates", stop, len(kept))
        return Examples(
            np.concatenate(parts),
            hits[kept].astype(np.int32),
            base,
            kept.sum(axis=1)[useful],
            examples.users[useful],
            self._inputs.names(),
            self._inputs.categorical(),
        )


def _kept(real: BoolArray, hits: BoolArray, negatives: int, generator: np.random.Generator) -> BoolArray:
    """All hits and some other candidates of each query, drawn at random, bool, shape (B, K)."""
    drawn = np.where(real & ~hits, generator.random(real.shape), np.inf)
    if drawn.shape[1] <= negatives:
        return real.copy()
    limit = np.partition(drawn, negatives - 1, axis=1)[:, negatives - 1 : negatives]
    return np.asarray(hits | (np.isfinite(drawn) & (drawn <= limit)))
