"""Map of a catalogue: the text vectors of some of its items, laid out on a plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from recserve.api.backends.store_threads import StoreThreads
from recserve.data.arrays import FloatArray, Int64Array
from recserve.data.catalogue import Catalogue
from recserve.errors import StoreError
from recserve.serving.pipeline import Pipeline
from recserve.serving.state.live_catalogue import CatalogueView
from recserve.store import Store

MOST_POINTS = 2_000
_SEED = 7


@dataclass(frozen=True, slots=True)
class Projection:
    """Items of a bundle on a plane.

    Attributes:
        bundle: Id of the bundle.
        rows: int64, shape (N,), ascending: rows of its catalogue.
        points: float32, shape (N, 2), within -1 and 1.
        explained: Share of the variance of the vectors that the plane shows; 0 without vectors.
        items: Items of the bundle that have a vector.
    """

    bundle: str
    rows: Int64Array
    points: FloatArray
    explained: float
    items: int


class VectorMap:
    """Draws the map of the bundle in service, in a thread, and keeps the last one.

    Args:
        pipeline: The pipeline in service.
        store: Its store.
    """

    def __init__(self, pipeline: Callable[[], Pipeline], store: Store) -> None:
        self._pipeline = pipeline
        self._store = store
        self._threads = StoreThreads("vector-map", threads=1, queue=8)
        self._last: Projection | None = None

    async def draw(self, limit: int, attribute: str | None) -> dict[str, Any]:
        """The map as plain data; see :class:`recserve.api.schemas.browsing.VectorMapAnswer`.

        Args:
            limit: At most this many items, from all over the catalogue.
            attribute: Attribute whose value comes with each point.

        Raises:
            NotReadyError: No bundle is loaded.
            StoreError: Too many are waiting for one.
        """
        return await self._threads.run(partial(self._draw, self._pipeline(), limit, attribute))

    def _draw(self, pipeline: Pipeline, limit: int, attribute: str | None) -> dict[str, Any]:
        context, view = pipeline.context, self._view(pipeline)
        found = self._last
        if found is None or found.bundle != context.bundle:
            found = self._last = project(context.bundle, view.catalogue)
        served = np.flatnonzero(~view.bars.barred[found.rows])
        chosen = served[np.linspace(0, len(served) - 1, min(limit, len(served)), dtype=np.int64)]
        points = []
        for index in chosen.tolist():
            item = view.catalogue.item(int(found.rows[index]))
            x, y = found.points[index].tolist()
            value = None if attribute is None else _label(item.attributes.get(attribute))
            point = {"item_id": item.item_id, "title": item.title, "x": round(x, 4), "y": round(y, 4)}
            points.append({**point, "value": value})
        return {
            "bundle": found.bundle,
            "items": found.items,
            "explained": round(found.explained, 4),
            "attribute": attribute,
            "points": points,
        }

    def _view(self, pipeline: Pipeline) -> CatalogueView:
        """The catalogue as it is now; the one at hand while the store cannot be reached."""
        try:
            return pipeline.live.at_least(self._store.pulse().catalogue)
        except StoreError:
            return pipeline.live.view


def project(bundle: str, catalogue: Catalogue, most: int = MOST_POINTS) -> Projection:
    """Project vectors on their two principal components (Pearson 1901, Hotelling 1933).

    Args:
        bundle: Id of the bundle.
        catalogue: Its catalogue; without vectors there are no points.
        most: Of more items a random sample is taken, the same every time.
    """
    vectors = catalogue.vectors
    count = 0 if vectors is None else len(vectors)
    rows = np.arange(count, dtype=np.int64)
    if count > most:
        rows = np.sort(np.random.default_rng(_SEED).choice(count, most, replace=False)).astype(np.int64)
    if vectors is None or not count:
        return Projection(bundle, rows, np.empty((0, 2), np.float32), 0.0, count)
    # Of a file in memory only these rows are read.
    sample = np.asarray(vectors[rows], dtype=np.float64)
    centred = sample - sample.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    plane = np.zeros((sample.shape[1], 2))
    axes = min(2, sample.shape[1])
    plane[:, :axes] = directions[:, ::-1][:, :axes]
    points = centred @ plane
    # Directions have no sign of their own: the largest coordinate of each is positive.
    points *= np.where(points[np.abs(points).argmax(axis=0), (0, 1)] < 0, -1.0, 1.0)
    points /= max(float(np.abs(points).max()), 1e-12)
    total = float(variances.sum())
    explained = float(variances[::-1][:axes].sum()) / total if total > 0 else 0.0
    return Projection(bundle, rows, points.astype(np.float32), explained, count)


def _label(value: Any) -> str | None:
    """The value of an attribute as a short text; of a list the first entry."""
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None or isinstance(value, dict) else str(value)[:80]
