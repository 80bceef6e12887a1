"""A plugin whose every score says which code, ranker, candidates and text vector it was made of.

A score is ``1,000,000 x code + 10,000 x stamp of the ranker + 100 x stamp of the candidates + stamp of the
text's vector``. The ranker and the retriever have the stamp of the training that made their bundle; a text
has that of the encoder, and no text has 0. Tests install the plugin as a distribution, see :func:`install`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recserve import (
    Candidates,
    Catalogue,
    Component,
    Dataset,
    FitContext,
    NoParams,
    Queries,
    Retrieved,
    hookimpl,
    mask_scores,
    top_k,
)

CODE = 1
_ANGLE = 0.05


class StampParams(NoParams):
    """Parameters of everything here."""

    stamp: int = Field(1, ge=0, le=20)
    seconds: float = Field(0.0, ge=0, description="How long the ranker takes, as a large model does.")


class EncoderParams(StampParams):
    """Parameters of the encoder; of a model it knows none."""

    model: str = ""


class _Stamped:
    """A trained component: what it learns is its stamp."""

    def __init__(self, params: StampParams, catalogue: Catalogue) -> None:
        self._wanted = params.stamp
        self._seconds = params.seconds
        self._items = len(catalogue)
        self.stamp = -1

    def fit(self, data: Dataset, context: FitContext) -> Mapping[str, Any]:
        """Learn the stamp."""
        self.stamp = self._wanted
        return {}

    def save(self, directory: Path) -> None:
        """Write the stamp."""
        (directory / "stamp.json").write_text(json.dumps(self.stamp))

    def load(self, directory: Path) -> None:
        """Read the stamp."""
        self.stamp = int(json.loads((directory / "stamp.json").read_text()))


class StampedRetriever(_Stamped):
    """Proposes any items; their score is its stamp and that of the query's text."""

    def retrieve(self, queries: Queries, k: int) -> Retrieved:
        """Some items."""
        texts = np.zeros(len(queries), dtype=np.float32)
        if queries.text_vectors is not None:
            vectors = queries.text_vectors
            texts = np.round(np.arctan2(vectors[:, 1], vectors[:, 0]) / _ANGLE).astype(np.float32)
        scores = np.tile((100 * self.stamp + texts)[:, None], (1, self._items)).astype(np.float32)
        return Retrieved.of(*top_k(mask_scores(scores, queries), k))


class StampedRanker(_Stamped):
    """Adds its stamp, and that of the code, to the retriever's score."""

    def score(self, queries: Queries, candidates: Candidates) -> NDArray[np.float32]:
        """The retriever's score, stamped."""
        time.sleep(self._seconds)
        found = np.nan_to_num(candidates.source_scores).sum(axis=2)
        return (found + 10_000 * self.stamp + 1_000_000 * CODE).astype(np.float32)


class StampedEncoder:
    """Gives every text the same vector, whose angle is the stamp."""

    dimension = 2

    def __init__(self, params: EncoderParams, catalogue: Catalogue) -> None:
        self._angle = params.stamp * _ANGLE
        self.fingerprint = f"stamp-{params.stamp}"

    def encode(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """A vector a text."""
        vector = np.array([np.cos(self._angle), np.sin(self._angle)], dtype=np.float32)
        return np.tile(vector, (len(texts), 1))


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """The retriever ``stamped``."""
    return [Component("stamped", StampedRetriever, StampParams, summary="Any items, stamped.")]


@hookimpl
def register_rankers() -> Sequence[Component]:
    """The ranker ``stamped``."""
    return [Component("stamped", StampedRanker, StampParams, summary="Scores, stamped.")]


@hookimpl
def register_encoders() -> Sequence[Component]:
    """The encoder ``stamped``."""
    return [Component("stamped", StampedEncoder, EncoderParams, summary="Vectors, stamped.")]


@dataclass(frozen=True)
class Stamps:
    """What a score was made of."""

    code: int
    ranker: int
    candidates: int
    text: int

    @classmethod
    def of(cls, score: float) -> Stamps:
        """The stamps of a score."""
        number = round(score)
        return cls(number // 1_000_000, number // 10_000 % 100, number // 100 % 100, number % 100)


def install(site: Path, code: int) -> None:
    """Put a version of this plugin into a folder of ``PYTHONPATH``, in place of an earlier one."""
    source = Path(__file__).read_text().replace("\nCODE = 1\n", f"\nCODE = {code}\n")
    metadata = site / "recserve_stamps-1.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    (site / "recserve_stamps.py").write_text(source)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: recserve-stamps\nVersion: {code}.0.0\n")
    (metadata / "entry_points.txt").write_text("[recserve]\nstamps = recserve_stamps\n")
