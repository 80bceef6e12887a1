"""Metrics that compare a list with its user's history: calibration and popularity lift.

The profile of a query is the positive part of its input, as a model sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recserve.data.arrays import Float64Array, Int32Array
from recserve.data.batches import Histories
from recserve.data.catalogue import Catalogue
from recserve.data.dataset import Dataset
from recserve.errors import ConfigError
from recserve.evaluation.metrics.accuracy import ratio

SMOOTHING = 0.01
"""Share of the profile that is mixed into a list's distribution, so that its divergence is finite."""

_FEWEST, _MOST = 2, 100


def choose_attribute(catalogue: Catalogue) -> str | None:
    """The attribute whose mix is worth measuring, such as ``genres``; None if there is none.

    Texts and lists of texts count, with 2 to 100 distinct values, on at least half of the items; the
    one on most items is taken, and of equal ones the first by name.
    """
    held: Counter[str] = Counter()
    distinct: dict[str, set[str]] = {}
    for item in catalogue.items():
        for name, value in item.attributes.items():
            values = _values(value)
            held[name] += bool(values)
            known = distinct.setdefault(name, set())
            # More than the most are too many, however many more.
            known.update(values[: _MOST + 1 - len(known)])
    usable = [
        (-held[name], name)
        for name, values in distinct.items()
        if 2 * held[name] >= len(catalogue) and _FEWEST <= len(values) <= _MOST
    ]
    return min(usable)[1] if usable else None


class Calibration:
    """How far the mix of a list's categories is from its user's (Steck 2018, "Calibrated recommendations").

    With p(g|u) the share of category g in the profile, weighted by confidence, and q(g|u) its share in the
    list, the metric is KL(p, q') in nats, where q' = 0.99 q + 0.01 p. An item of several categories counts
    in equal parts for each. 0 is a list with the profile's own mix.

    Args:
        catalogue: Items with the attribute.
        attribute: Its name; texts, numbers and lists of them are categories.

    Raises:
        ConfigError: No item has the attribute.
    """

    def __init__(self, catalogue: Catalogue, attribute: str) -> None:
        self.attribute = attribute
        column = [_values(value, numbers=True) for value in catalogue.column(attribute)]
        if not any(column):
            known = ", ".join(sorted(catalogue.attribute_names)) or "none"
            raise ConfigError(f"no item has the attribute {attribute!r} to calibrate by (known: {known})")
        codes: dict[str, int] = {}
        members = [codes.setdefault(value, len(codes)) for values in column for value in values]
        lengths = np.array([len(values) for values in column])
        shares = np.repeat(1.0 / np.maximum(lengths, 1), lengths)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        # Row i holds the share of each category in item i.
        self._parts = csr_array((shares, members, offsets), shape=(len(column), len(codes)))

    def divergence(
        self, ranked: Int32Array, histories: Histories, ks: Sequence[int]
    ) -> dict[str, Float64Array]:
        """KL divergence of each list.

        Args:
            ranked: int32, shape (B, K), -1 pads.
            histories: Inputs of the B queries.
            ks: Cut-offs.

        Returns:
            ``{"calibration@10": ...}``, float64 of shape (B,); NaN where the profile or the list holds no
            item with a category.
        """
        profile = histories.known(self._parts.shape[0]).positive()
        target = _distribution(self._mix(profile.owners(), profile.items, profile.weights, len(ranked)))
        values = {}
        for k in ks:
            query, rank = np.nonzero(ranked[:, :k] >= 0)
            listed = self._mix(query, ranked[query, rank], np.ones(len(query)), len(ranked))
            values[f"calibration@{k}"] = _divergence(target, _distribution(listed))
        return values

    def _mix(
        self, owners: NDArray[np.int64], items: Int32Array, weights: NDArray[np.floating], batch: int
    ) -> Float64Array:
        """Weight of each category in B lists, float64 (B, G)."""
        chosen = csr_array((weights, (owners, items)), shape=(batch, self._parts.shape[0]), dtype=np.float64)
        return np.asarray((chosen @ self._parts).todense())


def popularity(training: Dataset) -> Float64Array:
    """Share of the training users who chose each item, float64, shape (n_items,)."""
    chosen = training.matrix()
    users = max(int(np.count_nonzero(np.diff(chosen.indptr))), 1)
    return np.asarray(np.bincount(chosen.indices, minlength=training.n_items) / users)


def list_popularity(
    ranked: Int32Array, histories: Histories, popular: Float64Array, ks: Sequence[int]
) -> tuple[Float64Array, dict[int, Float64Array]]:
    """Mean popularity of the items of each profile and of each list.

    Args:
        ranked: int32, shape (B, K), -1 pads.
        histories: Inputs of the B queries.
        popular: From :func:`popularity`.
        ks: Cut-offs.

    Returns:
        float64 (B,) of the profiles, and the same of the lists for each cut-off; NaN where one is empty.
    """
    profile = histories.known(len(popular)).positive()
    owners = profile.owners()
    sums = np.bincount(owners, weights=popular[profile.items], minlength=len(ranked)).astype(np.float64)
    before = ratio(sums, np.bincount(owners, minlength=len(ranked)))
    present = ranked >= 0
    worth = np.where(present, popular[np.maximum(ranked, 0)], 0.0)
    lists = {k: ratio(worth[:, :k].sum(axis=1), present[:, :k].sum(axis=1)) for k in ks}
    return before, lists


def _values(value: object, *, numbers: bool = False) -> list[str]:
    """The categories of one attribute value, distinct."""
    kinds = (str, int, float) if numbers else (str,)
    parts = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(str(part) for part in parts if isinstance(part, kinds) and part != ""))


def _distribution(weights: Float64Array) -> Float64Array:
    """Rows that sum to 1, or to 0 where there is nothing."""
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def _divergence(target: Float64Array, listed: Float64Array) -> Float64Array:
    mixed = (1.0 - SMOOTHING) * listed + SMOOTHING * target
    held = target > 0
    ratio = np.divide(target, mixed, out=np.ones_like(target), where=held)
    values = (target * np.log(ratio)).sum(axis=1)
    usable = held.any(axis=1) & (listed > 0).any(axis=1)
    # Rounding can leave a perfect match a hair below zero.
    return np.where(usable, np.maximum(values, 0.0), np.nan)
