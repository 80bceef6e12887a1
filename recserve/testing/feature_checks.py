"""Conformance checks of a ranker's features: their shape, and that none knows what is to be predicted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recserve.data.batches import Candidates, Queries
from recserve.data.dataset import Dataset
from recserve.evaluation import LeakError, check_feature_leaks
from recserve.plugin.protocols import ShowsFeatures
from recserve.testing.examples import one_query


def check_features(
    ranker: ShowsFeatures,
    queries: Queries,
    candidates: Candidates,
    fit: Callable[[Dataset], ShowsFeatures],
    data: Dataset,
    name: str,
) -> None:
    """Features are of the promised shape, those of a query do not depend on the others, and none leaks.

    Args:
        ranker: Fitted on ``data``.
        queries: Of every kind.
        candidates: For them.
        fit: Fits another one on other events of the same items.
        data: Items and events.
        name: Of the ranker.

    Raises:
        AssertionError: One of this does not hold.
    """
    found, names = ranker.features(queries, candidates), ranker.feature_names
    assert found.shape == (*candidates.items.shape, len(names)), (
        f"features are of shape {found.shape}, not {(*candidates.items.shape, len(names))}"
    )
    assert found.dtype == np.float32, f"features are of dtype {found.dtype}, not float32"
    assert len(set(names)) == len(names), "two features have the same name"
    assert not np.isinf(found).any(), "features are infinite; NaN is for what is not known"
    assert ranker.counted_until <= int(data.timestamps[-1]), "features were counted on later events than data"
    real = candidates.items >= 0
    for index in range(len(queries)):
        alone = ranker.features(one_query(queries, index), candidates.of_queries(slice(index, index + 1)))
        np.testing.assert_allclose(
            alone[0][real[index]],
            found[index][real[index]],
            rtol=1e-4,
            atol=1e-5,
            err_msg=f"query {index} has other features alone than in a batch",
        )
    try:
        check_feature_leaks(data, fit, name=name)
    except LeakError as error:
        raise AssertionError(error.message) from None
