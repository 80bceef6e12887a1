"""Decisions on the current bundle, and who made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from recserve.bundles.repository import BundleRepository
from recserve.errors import BundleError, ConflictError, NotFoundError
from recserve.store import Store, open_store
from recserve.training.promotion.decision import Decider, NoEarlierBundleError
from recserve.training.promotion.gate import Finding, GateError
from tests.support.bundles import promoted, write_bundle


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as opened:
        yield opened


def test_nothing_is_decided_on_what_became_current_meanwhile(store: Store, tmp_path: Path) -> None:
    first, second = (write_bundle(tmp_path, store, seed=seed) for seed in (1, 2))
    promoted(store, [first])
    with pytest.raises(ConflictError, match="meanwhile"):
        Decider(store, "me").promote(second, None, [], reason=None)
    assert store.current_bundle() == first


def test_a_refusal_says_what_overrules_it(store: Store, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, store)
    against = Finding("offline", "it is bad", {"difference": -1}, "which is less")
    with pytest.raises(GateError, match="anyway with a bribe"):
        Decider(store, "me").promote(bundle, None, [against], reason="why not", anyway="a bribe")
    assert store.current_bundle() is None
    (entry,) = store.audit(10)
    assert (entry.actor, entry.action, entry.detail["reason"]) == ("me", "bundle.refuse", "why not")


def test_a_rollback_goes_to_an_intact_one(store: Store, tmp_path: Path) -> None:
    repository, decider = BundleRepository(tmp_path), Decider(store, "me")
    first, second = (write_bundle(tmp_path, store, seed=seed) for seed in (1, 2))
    promoted(store, [first])
    with pytest.raises(NoEarlierBundleError):
        decider.roll_back(repository, None)
    promoted(store, [second])
    (tmp_path / "bundles" / first / "items.parquet").write_bytes(b"")
    with pytest.raises(BundleError, match="truncated or altered"):
        decider.roll_back(repository, None)
    assert store.current_bundle() == second


def test_an_unknown_bundle_is_refused(store: Store) -> None:
    with pytest.raises(NotFoundError, match="was not trained in this home"):
        Decider(store, "me").check_known("20260101-000000000000")
