"""Base of rankers over features: what they count, show, learn from and keep, whatever learns from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recserve import (
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
from recserve_features.inputs.feature_set import FeatureSet
from recserve_features.inputs.schema import default_features
from recserve_features.learning.anchor import Anchor
from recserve_features.learning.examples import Examples, kept_candidates
from recserve_features.parameters import FeatureParams

_FILE = "features.json"
_TABLES = "tables.npy"
_FORMAT = 1
# Queries whose features are computed at once.
_QUERIES = 128


class FeatureRanker:
    """A feature set, and the order that learning starts from.

    Features are counted in ``fit`` on the earlier window; what ranks learns in ``fit_candidates`` from
    candidates of queries of the next one. So what a feature knows then is older than what is to be predicted,
    as it is in serving. Once fitted or loaded it may be asked from several threads.

    Args:
        params: Features, and candidates to learn from.
        catalogue: The items.
    """

    name: ClassVar[str]

    def __init__(self, params: FeatureParams, catalogue: Catalogue) -> None:
        self._declared = params
        self._catalogue = catalogue
        self._inputs = FeatureSet.of({}, catalogue, params.time_zone)
        self._anchor = Anchor()

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.names()

    @property
    def counted_until(self) -> int:
        """Time of the newest event that any feature knows of; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.counted_until

    def features(self, queries: Queries, candidates: Candidates) -> FloatArray:
        """What is read of each candidate; see :class:`recserve.ShowsFeatures`."""
        return self._inputs.compute(queries, candidates)

    def _count(self, data: Dataset, context: FitContext) -> dict[str, Any]:
        """Count features on all events, those decided on before if there are any.

        Returns:
            ``features``: their names.
        """
        previous = context.previous or {}
        if "decisions" in previous:
            inputs = FeatureSet.decided(previous["decisions"], self._catalogue)
        else:
            declared = self._declared.features or default_features(data, self._declared.time_zone)
            inputs = FeatureSet.of(declared, self._catalogue, self._declared.time_zone)
        if "anchor" in previous:
            self._anchor = Anchor.from_json(previous["anchor"])
        context.progress("counting features", 0, 1)
        self._inputs = inputs.counted(data)
        return {"features": list(self._inputs.names())}

    def _examples(self, examples: RankingExamples, context: FitContext) -> Examples | None:
        """Candidates to learn from: of queries with a hit, all hits and some of the others; None for none.

        What features learn of retrievers and contexts, and the anchor, are learnt on the way.

        Raises:
            DataError: Times order events, and a query is not newer than events that features were counted on.
        """
        self._check_times(examples.queries)
        self._inputs = self._inputs.learnt(
            examples.candidates.sources, examples.queries.contexts, examples.users.tolist()
        )
        real = examples.candidates.items >= 0
        hits = real & (examples.labels > 0)
        useful = hits.any(axis=1) & (real & ~hits).any(axis=1)
        if not useful.any():
            return None
        kept = kept_candidates(real, hits, self._declared.negatives, np.random.default_rng(context.seed))
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

    def _decided(self) -> dict[str, Any]:
        """What the final fit takes over of features and anchor: ``decisions`` and ``anchor``."""
        return {"decisions": self._inputs.decisions(), "anchor": self._anchor.to_json()}

    def _write(self, directory: Path, own: Mapping[str, Any]) -> None:
        """Write declarations, what was counted and the ranker's own facts; nothing of any user."""
        inputs = self._inputs
        facts = {
            "format": _FORMAT,
            "decisions": inputs.decisions(),
            "counted_until": inputs.counted_until,
            "timed": inputs.timed,
            "anchor": self._anchor.to_json(),
            "items": len(self._catalogue),
            "shapes": {name: list(table.shape) for name, table in inputs.tables.items()},
            **own,
        }
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        (directory / _FILE).write_text(text + "\n", encoding="utf-8")
        flat = np.concatenate([np.empty(0), *(table.ravel() for table in inputs.tables.values())])
        np.save(directory / _TABLES, flat[None], allow_pickle=False)

    def _read(self, directory: Path, use: Callable[[Mapping[str, Any]], None]) -> None:
        """Restore what :meth:`_write` wrote.

        Args:
            directory: Where it is.
            use: Gets the facts and restores what is the ranker's own; the features are there by then.

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
            use(facts)
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = " ".join(str(error).split())
            raise BundleError(f"{directory / _FILE} cannot be read: {cause}; train again") from None

    def _check_times(self, queries: Queries) -> None:
        inputs = self._inputs
        if inputs.timed and len(queries) and int(queries.times.min()) <= inputs.counted_until:
            late = int((queries.times <= inputs.counted_until).sum())
            raise DataError(
                f"leak: {late} of {len(queries)} queries that {self.name} is to learn from are not newer "
                "than the events that its features were counted on"
            )
