"""Searching bundles for what is left of a deleted person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from recserve.bundles.bundle import Bundle
from recserve.bundles.embedding_cache import VectorCache, text_keys
from recserve.bundles.manifest import DataEntry
from recserve.bundles.repository import BundleRepository
from recserve.bundles.verify_deletion import BundleCheck, verify_deletion
from recserve.data.catalogue import Catalogue
from recserve.errors import NotFoundError
from recserve.store import Store, open_store

NOTHING = dict.fromkeys(("events", "exposures", "user_impressions", "users", "merges"), 0)
"""Rows that are left of somebody who was deleted."""

PERSON = "Person é 🎬"
USERS = 17


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(None, tmp_path) as one:
        yield one


@pytest.fixture
def repository(tmp_path: Path) -> BundleRepository:
    return BundleRepository(tmp_path)


def make_bundle(
    repository: BundleRepository, files: dict[str, Any], items: tuple[str, ...] = ("a", "b", "c")
) -> Bundle:
    """A bundle of three items, trained on 17 users, with more files in a component."""
    with repository.writer() as writer:
        attributes = [json.dumps({"title": one, "seller": files.get("seller", "s")}) for one in items]
        writer.write_catalogue(Catalogue(list(items), attributes, np.eye(len(items), dtype=np.float32)))
        folder = writer.component_directory("ranker.x")
        for name, content in files.items():
            path = folder / name
            if path.suffix == ".json":
                path.write_text(json.dumps(content))
            elif path.suffix == ".parquet":
                pq.write_table(content, path)
            elif path.suffix == ".safetensors":
                tensors, metadata = content if isinstance(content, tuple) else (content, None)
                save_file(tensors, path, metadata)
            elif path.suffix == ".npy":
                np.save(path, content)
        return writer.finish(
            recserve_version="0",
            config={"a": files.get("config", "b")},
            config_hash="0",
            seed=0,
            data=DataEntry(fingerprint="0", users=USERS, items=len(items), events=9, until=0),
            encoder_fingerprint=None,
            components={},
            metrics={},
        )


def check(store: Store, repository: BundleRepository, person: str = PERSON) -> tuple[BundleCheck, ...]:
    verification = verify_deletion(store, repository, store.delete_user(person).receipt_id)
    assert verification.traces == NOTHING
    assert verification.clean == all(one.clean for one in verification.bundles)
    return verification.bundles


def test_a_bundle_of_items_only_is_clean(store: Store, repository: BundleRepository) -> None:
    bundle = make_bundle(
        repository,
        {
            "weights.safetensors": {"w": np.zeros((4, 4), np.float32)},
            "x.npy": np.zeros((3, 2)),
            "y.json": {PERSON + "!": [PERSON.lower(), 17, None]},
        },
    )
    assert check(store, repository) == (BundleCheck(bundle.id),)


nested = pa.table({"plain": ["x"], "deep": [[{"name": PERSON}]]})


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"x.json": {"deep": [{"a": [PERSON]}]}}, "components/ranker.x/x.json"),
        ({"x.json": {PERSON: 1}}, "components/ranker.x/x.json"),
        ({"x.json": json.dumps({"in text": PERSON})}, "components/ranker.x/x.json"),
        ({"x.parquet": pa.table({"who": ["x", PERSON]})}, "components/ranker.x/x.parquet: who"),
        ({"x.parquet": pa.table({"who": [b"x", PERSON.encode()]})}, "components/ranker.x/x.parquet: who"),
        (
            {"x.parquet": pa.table({"who": pa.array([PERSON]).dictionary_encode()})},
            "components/ranker.x/x.parquet: who",
        ),
        ({"x.parquet": nested}, "components/ranker.x/x.parquet: deep"),
        ({"x.parquet": pa.table({PERSON: [1]})}, "components/ranker.x/x.parquet"),
        (
            {"x.parquet": pa.table({"a": [1]}).replace_schema_metadata({"of": PERSON})},
            "components/ranker.x/x.parquet",
        ),
        ({"x.safetensors": {PERSON: np.zeros(2, np.float32)}}, "components/ranker.x/x.safetensors"),
        (
            {"x.safetensors": ({"w": np.zeros(2, np.float32)}, {"of": PERSON})},
            "components/ranker.x/x.safetensors",
        ),
        ({"config": PERSON}, "manifest.json"),
        ({"seller": PERSON}, "items.parquet: attributes"),
    ],
)
def test_the_id_is_found_wherever_it_is(
    store: Store, repository: BundleRepository, files: dict[str, Any], place: str
) -> None:
    make_bundle(repository, {"config": "b", **files})
    (found,) = check(store, repository)
    assert found.texts == (place,)
    assert not found.clean


def test_arrays_with_a_row_for_each_user_are_suspicious(store: Store, repository: BundleRepository) -> None:
    make_bundle(
        repository,
        {
            "x.npy": np.zeros((USERS, 2)),
            "y.npy": np.zeros((2, USERS)),
            "z.npy": np.float32(1),
            "w.safetensors": {"users": np.zeros(USERS, np.float32), "other": np.zeros(16, np.float32)},
        },
    )
    (found,) = check(store, repository)
    assert found.arrays == (
        "components/ranker.x/w.safetensors: users 17",
        "components/ranker.x/x.npy 17x2",
    )
    assert not found.clean


def test_as_many_users_as_items_proves_nothing(store: Store, repository: BundleRepository) -> None:
    make_bundle(repository, {"x.npy": np.zeros((USERS, 2))}, tuple(f"i{n}" for n in range(USERS)))
    assert check(store, repository)[0].clean


def test_a_person_named_like_an_item_is_told_apart_from_a_trace(
    store: Store, repository: BundleRepository
) -> None:
    make_bundle(repository, {"x.json": ["b"]})
    (found,) = check(store, repository, "b")
    assert found.clean
    assert found.texts == ()
    assert "items.parquet: item_id" in found.item_ids


def test_a_damaged_bundle_is_not_called_clean(store: Store, repository: BundleRepository) -> None:
    bundle = make_bundle(repository, {})
    (bundle.directory / "item_vectors.npy").write_bytes(b"")
    (found,) = check(store, repository)
    assert "item_vectors.npy" in found.problem
    assert not found.clean


def test_an_unknown_receipt(store: Store, repository: BundleRepository) -> None:
    with pytest.raises(NotFoundError, match="recserve deletions list"):
        verify_deletion(store, repository, "nope")


def test_a_merged_id_is_looked_for_as_well(store: Store, repository: BundleRepository) -> None:
    make_bundle(repository, {"x.json": ["session 1"], "config": "session 2"})
    store.merge_user("session 2", "session 1")
    store.merge_user("session 1", PERSON)
    verification = verify_deletion(store, repository, store.delete_user(PERSON).receipt_id)
    assert verification.merged == 2
    assert verification.bundles[0].texts == ("components/ranker.x/x.json", "manifest.json")
    assert not verification.clean


def test_a_cached_vector_of_the_id_is_found(
    store: Store, repository: BundleRepository, tmp_path: Path
) -> None:
    cache = VectorCache(tmp_path / "cache" / "vectors", "an encoder", 2)
    cache.add(text_keys(["something else"]), np.ones((1, 2), np.float32))
    receipt = store.delete_user(PERSON).receipt_id
    assert verify_deletion(store, repository, receipt, caches=tmp_path / "cache").clean
    cache.add(text_keys(["x", PERSON, "y"]), np.ones((3, 2), np.float32))
    found = verify_deletion(store, repository, receipt, caches=tmp_path / "cache")
    assert len(found.caches) == 1
    assert not found.clean
