"""The reranker ``cross_encoder``: the best of the list in an order blended with a cross-encoder's scores."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from recserve_bert.tuning.examples import Recent

from recserve import (
    BundleError,
    Candidates,
    Catalogue,
    Dataset,
    FitContext,
    FloatArray,
    Int32Array,
    Int64Array,
    Queries,
    RankingExamples,
)
from recserve_cross_encoder.blending import blended, choose_weight
from recserve_cross_encoder.cache import ScoreCache
from recserve_cross_encoder.engines import PairEngine, score_pairs
from recserve_cross_encoder.learnt import LearntPairs, learn
from recserve_cross_encoder.pairs import Pair
from recserve_cross_encoder.parameters import CrossEncoderParams

_BLEND = "blend.json"
_QUERIES = 64


class CrossEncoderReranker:
    """Reranker over a cross-encoder, which reads the newest liked items and a candidate in one sequence.

    Requests about a text or an item, and those of users who liked nothing, keep their order. Safe to call
    from several threads.

    Args:
        params: Checkpoint, training, depth and weight.
        catalogue: What the list's rows are of.
    """

    def __init__(self, params: CrossEncoderParams, catalogue: Catalogue) -> None:
        self._params = params
        self._n_items = len(catalogue)
        self._weight = 0.0
        self._learnt: LearntPairs | None = None
        self._engine: PairEngine | None = None
        self._lock = threading.Lock()
        self._cache = ScoreCache(params.cached_scores)

    @classmethod
    def of(
        cls,
        params: CrossEncoderParams,
        catalogue: Catalogue,
        learnt: LearntPairs,
        weight: float,
        engine: PairEngine | None = None,
    ) -> CrossEncoderReranker:
        """A reranker with a model that was learnt before, and what runs it; None for what is kept with it."""
        made = cls(params, catalogue)
        made._learnt, made._weight, made._engine = learnt, weight, engine
        return made

    def __getstate__(self) -> dict[str, Any]:
        """Travel between processes without the loaded model and what is cached."""
        left = {"_lock", "_engine", "_cache"}
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """See :meth:`__getstate__`."""
        self.__dict__.update(state)
        self._engine, self._lock = None, threading.Lock()
        self._cache = ScoreCache(self._params.cached_scores)

    @property
    def weight(self) -> float:
        """Share of the cross-encoder in the blended score; with 0 the list stays as it is."""
        return self._weight

    @property
    def learnt(self) -> LearntPairs | None:
        """The model and the texts; None where nothing was learnt."""
        return self._learnt

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Train on pairs from the data's own events.

        Where an earlier fit found that it makes no list better, nothing is trained.

        Raises:
            ConfigError: The checkpoint cannot be used.
        """
        self._forget()
        given, previous = self._params.weight, context.previous
        found = None if previous is None else float(previous.get("weight", 0.0))
        weight = given if given is not None else found
        if weight == 0:
            return {"weight": 0.0}
        learnt = learn(data, self._params, context)
        if isinstance(learnt, str):
            return {"weight": 0.0, "why": learnt}
        self._learnt, facts = learnt
        # Without held-out queries nothing says that it makes lists better.
        self._weight = weight or 0.0
        return {**facts, "weight": self._weight}

    def fit_candidates(self, examples: RankingExamples, context: FitContext) -> Mapping[str, Any]:
        """Choose the weight on held-out queries, whose candidates are as the list is ranked."""
        if self._learnt is None or self._params.weight is not None:
            return {"weight": self._weight}
        chosen = self._useful(examples, context.seed)
        scores = np.full((len(chosen), self._params.depth), np.nan, dtype=np.float32)
        taken = _taken(examples, chosen)
        for start in range(0, len(chosen), _QUERIES):
            end = min(start + _QUERIES, len(chosen))
            part = taken.candidates.items[start:end, : self._params.depth]
            scores[start:end, : part.shape[1]] = self._scores(taken.queries.part(start, end), part)
            context.progress("held-out queries", end, len(chosen))
        scores = scores[:, : taken.candidates.items.shape[1]]
        self._weight, facts = choose_weight(taken, scores)
        return {"weight": self._weight, "validation": facts}

    def _useful(self, examples: RankingExamples, seed: int) -> Int64Array:
        """Queries whose order can matter: something that was liked is among the first candidates."""
        plain = examples.queries.plain & (examples.queries.histories.positive().lengths > 0)
        hit = (examples.labels[:, : self._params.depth] > 0).any(axis=1)
        useful = np.flatnonzero(plain & hit)
        most = self._params.validation_queries
        if len(useful) > most:
            useful = np.sort(np.random.default_rng(seed).choice(useful, most, replace=False))
        return useful.astype(np.int64)

    def rerank(self, queries: Queries, ranked: Candidates, n: int) -> Int32Array:
        """Order the first ``depth`` places by blended scores; see :meth:`recserve.Reranker.rerank`."""
        if self._weight == 0:
            return np.where(ranked.items >= 0, np.arange(ranked.items.shape[1]), -1).astype(np.int32)
        scores = self._scores(queries, ranked.items[:, : self._params.depth])
        return blended(ranked, scores, self._weight)

    def _scores(self, queries: Queries, items: Int32Array) -> FloatArray:
        """Scores of candidates, float32, shape of ``items``; NaN where there is nothing to read."""
        assert self._learnt is not None, "it is fitted or loaded"
        texts = self._learnt.texts
        liked = Recent.last(queries.histories.positive().known(self._n_items), self._params.history, 1.0).rows
        found = np.full(items.shape, np.nan, dtype=np.float32)
        pairs: list[Pair] = []
        keys: list[bytes] = []
        places: list[tuple[int, int]] = []
        for query in np.flatnonzero(queries.plain & (liked >= 0).any(axis=1)):
            own = self._cache.keys(liked[query], items[query])
            found[query] = self._cache.get(own)
            unknown = np.flatnonzero(np.isnan(found[query]))
            for place, pair in zip(unknown, texts.pairs(liked[query], items[query][unknown]), strict=True):
                if pair is not None:
                    pairs.append(pair)
                    keys.append(own[place])
                    places.append((int(query), int(place)))
        if pairs:
            scores = score_pairs(self._loaded(), texts, pairs, self._params.batch_tokens)
            self._cache.put(keys, scores)
            found[tuple(np.array(places).T)] = scores
        return found

    def _loaded(self) -> PairEngine:
        assert self._learnt is not None, "it is fitted or loaded"
        with self._lock:
            if self._engine is None:
                self._engine = self._learnt.engine(self._params)
            return self._engine

    def save(self, directory: Path) -> None:
        """Write the weight and, unless it is 0, the model."""
        idle = self._learnt is None or self._weight == 0
        base = None if idle or self._learnt is None else self._learnt.state.base
        known = {"base": base, "weight": self._weight}
        (directory / _BLEND).write_text(json.dumps(known, sort_keys=True) + "\n", encoding="utf-8")
        if not idle and self._learnt is not None:
            self._learnt.save(directory)

    def load(self, directory: Path) -> None:
        """Restore what :meth:`save` wrote, and load the model.

        Raises:
            BundleError: A file is missing or damaged, or what it was trained on or runs in is not here.
        """
        self._forget()
        try:
            known = json.loads((directory / _BLEND).read_text(encoding="utf-8"))
            weight, base = float(known["weight"]), known["base"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{directory / _BLEND} cannot be read: {' '.join(str(error).split())}"
            ) from None
        if base is None:
            return
        self._learnt = LearntPairs.load(directory, str(base), self._n_items)
        self._weight = weight
        # Now rather than with the first request, which has a deadline.
        self._loaded()

    def _forget(self) -> None:
        self._learnt, self._engine, self._weight = None, None, 0.0
        self._cache = ScoreCache(self._params.cached_scores)


def _taken(examples: RankingExamples, chosen: Int64Array) -> RankingExamples:
    """The examples of some queries."""
    queries, candidates = examples.queries, examples.candidates
    own = Queries.of(queries.histories.select(chosen), queries.times[chosen], wants_evidence=False)
    return replace(
        examples,
        queries=own,
        candidates=Candidates(
            candidates.items[chosen],
            candidates.scores[chosen],
            candidates.sources,
            candidates.source_scores[chosen],
            candidates.evidence[chosen],
        ),
        labels=examples.labels[chosen],
        users=examples.users[chosen],
    )
