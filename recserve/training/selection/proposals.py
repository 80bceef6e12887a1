"""Held-out queries and what retrieval proposes: what rankers learn from and orders are measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from recserve.data.arrays import Int32Array, Int64Array
from recserve.data.batches import Candidates, Queries, Retrieved
from recserve.data.system.cpus import map_in_threads
from recserve.evaluation.splits import Split
from recserve.plugin.protocols import FitContext, LearnsFromCandidates, Ranker, RankingExamples
from recserve.serving.stages.ranking import rank_order

_BATCH = 256
_FOLDS = 4
_PLENTY = 1000
"""With as many users half of them are enough to learn from, and two folds to measure all."""


class LearningRanker(Ranker, LearnsFromCandidates, Protocol):
    """A ranker that learns from candidates."""


@dataclass(frozen=True)
class Proposals:
    """What retrieval proposes for Q held-out queries.

    Attributes:
        split: The queries with their answers.
        found: By retriever, each of shape (Q, K_r).
        examples: The merged candidates, labelled.
    """

    split: Split
    found: Mapping[str, Retrieved]
    examples: RankingExamples

    def take(self, chosen: Int64Array) -> RankingExamples:
        """The examples of some queries, in increasing order."""
        split, whole = self.split.take(chosen), self.examples
        return RankingExamples(
            next(batch for _, batch, _ in split.batches(len(split))),
            whole.candidates.of_queries(chosen),
            whole.labels[chosen],
            whole.users[chosen],
        )


@dataclass(frozen=True)
class QuerySample:
    """Q held-out queries that candidates are proposed for, and what their users did.

    Made once for all scenarios that are asked the same queries.

    Attributes:
        split: The queries with their answers.
        queries: All as one batch.
        batches: The same in the order and the portions in which pipelines are asked.
        pairs: int64, shape (A,), increasing; user and item of each held-out event of the whole split, as
            ``user * n_items + item``.
        happened: int64, shape (A,); when, milliseconds.
        said: int32, shape (A,); code of its context, -1 for none; None where nobody said anything.
    """

    split: Split
    queries: Queries
    batches: tuple[Queries, ...]
    pairs: Int64Array
    happened: Int64Array
    said: Int32Array | None = None

    @classmethod
    def of(cls, split: Split, limit: int, seed: int) -> QuerySample:
        """At most ``limit`` queries of a split, sampled without replacement.

        Args:
            split: Its queries precede positive events.
            limit: Queries, at most.
            seed: Of the sample.
        """
        chosen = np.arange(len(split))
        if len(chosen) > limit:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
        asked = np.repeat(np.arange(len(split)), np.diff(split.relevant.offsets))
        pairs = split.groups[asked] * split.n_items + split.relevant.values
        order = np.argsort(pairs, kind="stable")
        sample = split.take(chosen)
        return cls(
            sample,
            next(batch for _, batch, _ in sample.batches(len(sample))),
            tuple(batch for _, batch, _ in sample.batches(_BATCH)),
            pairs[order],
            split.times[asked][order],
            None if split.contexts is None else split.contexts.codes[asked][order],
        )


def ranked_across(ranker: LearningRanker, proposals: Proposals, context: FitContext) -> Int32Array:
    """The order of each query's candidates by a ranker that learnt from other users' candidates.

    Returns:
        int32, shape (Q, K). The ranker has then learnt from a part of the users only.
    """
    everything = np.arange(len(proposals.split))
    users = np.unique(proposals.examples.users, return_inverse=True)[1]
    n_users = int(users.max()) + 1
    folds = 2 if n_users >= _PLENTY else min(_FOLDS, n_users)
    ranked = np.full(proposals.examples.candidates.items.shape, -1, dtype=np.int32)
    for fold in range(folds):
        tested = users % folds == fold
        ranker.fit_candidates(proposals.take(everything[~tested]), context)
        ranked[tested] = ordered(ranker, proposals.take(everything[tested]))
    return ranked


def ordered(ranker: Ranker, examples: RankingExamples) -> Int32Array:
    """The ranker's order of each query's candidates, int32, shape (Q, K)."""
    candidates = examples.candidates
    if not candidates.items.size:
        return candidates.items
    scores = [
        ranker.score(
            examples.queries.part(start, min(start + _BATCH, len(examples.queries))),
            candidates.of_queries(slice(start, start + _BATCH)),
        )
        for start in range(0, len(examples.queries), _BATCH)
    ]
    return rank_order(np.concatenate(scores), candidates).items


Propose = Callable[[Queries], tuple[Candidates, Mapping[str, Retrieved]]]
"""Candidates of a batch, and what each retriever found."""


def proposals(propose: Propose, sample: QuerySample, threads: int = 1) -> Proposals:
    """What is proposed for held-out queries, labelled with what the user did from then on.

    Args:
        propose: Such as ``retrieve`` of :class:`recserve.training.fitted_pipeline.FittedPipeline`, fitted on
            the split's training part.
        sample: Its queries precede positive events; see :func:`validation_split`.
        threads: Batches proposed for at a time; 0 takes as many as this process may use.

    Returns:
        Proposals; a label is 1 for candidates that the user had a held-out event with at or after the
        query's time, and in the same context where contexts are known: what somebody wants on a phone says
        little of what the same one wants at a desk.
    """
    split = sample.split
    parts = map_in_threads(propose, sample.batches, threads)
    candidates = _stack([merged for merged, _ in parts])
    found = {name: _stack_found([found[name] for _, found in parts]) for name in parts[0][1]}
    wanted = split.groups[:, None] * split.n_items + candidates.items
    place = np.minimum(np.searchsorted(sample.pairs, wanted), len(sample.pairs) - 1)
    hit = (candidates.items >= 0) & (sample.pairs[place] == wanted)
    later = hit & (sample.happened[place] >= split.times[:, None])
    if sample.said is not None and split.contexts is not None:
        later &= sample.said[place] == split.contexts.codes[:, None]
    examples = RankingExamples(
        sample.queries, candidates, later.astype(np.float32), split.groups.astype(np.int32)
    )
    return Proposals(split, found, examples)


def _stack(parts: list[Candidates]) -> Candidates:
    """Candidates of consecutive batches as one, padded to the widest."""
    width = max(part.items.shape[1] for part in parts)

    return Candidates(
        items=_pad([part.items for part in parts], -1, width),
        scores=_pad([part.scores for part in parts], -np.inf, width),
        sources=parts[0].sources,
        source_scores=_pad([part.source_scores for part in parts], np.nan, width),
        evidence=_pad([part.evidence for part in parts], -1, width),
    )


def _stack_found(parts: list[Retrieved]) -> Retrieved:
    """What a retriever found for consecutive batches as one, padded to the widest."""
    width = max(part.items.shape[1] for part in parts)
    return Retrieved(
        items=_pad([part.items for part in parts], -1, width),
        scores=_pad([part.scores for part in parts], -np.inf, width),
        evidence=_pad([part.evidence for part in parts], -1, width),
    )


def _pad(arrays: list[Any], fill: float, width: int) -> Any:
    """Arrays of shape (B, K, ...) as one, K padded to a width."""
    return np.concatenate(
        [
            np.pad(
                array,
                [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2),
                constant_values=fill,
            )
            for array in arrays
        ]
    )
