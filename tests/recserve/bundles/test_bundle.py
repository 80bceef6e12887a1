"""Bundles: reproducible ids, verification of every byte, remote locations."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from recserve import BundleError, Catalogue, Item
from recserve.bundles.bundle import Bundle
from recserve.bundles.manifest import DataEntry
from recserve.bundles.remote import fetch
from recserve.bundles.repository import BundleRepository, open_newest
from recserve.bundles.writer import BundleWriter
from recserve.data.columns.strings import Texts
from recserve.data.vocabulary import COMPACT_FROM


def build(repository: BundleRepository, seed: int = 0) -> Bundle:
    catalogue = Catalogue.of(
        [Item("a", {"title": "A “quoted” 标题"}), Item("b/é", {"n": 1})],
        np.eye(2, 4, dtype=np.float32),
    )
    with repository.writer() as writer:
        writer.write_catalogue(catalogue)
        folder = writer.component_directory("retriever.test")
        np.save(folder / "state.npy", np.arange(seed, seed + 6))
        return finish(writer, seed)


def finish(writer: BundleWriter, seed: int = 0) -> Bundle:
    return writer.finish(
        recserve_version="0",
        config={"x": 0.1},
        config_hash="h",
        seed=seed,
        data=DataEntry(fingerprint="f", users=1, items=2, events=3, until=1_476_640_644_000),
        encoder_fingerprint=None,
        components={},
        metrics={"ndcg@10": {"mean": 1 / 3, "ci95": [0.1, 0.2]}},
    )


def test_equal_content_gives_equal_ids_and_bytes(tmp_path: Path) -> None:
    one, other = (build(BundleRepository(tmp_path / home)) for home in ("one", "two"))
    assert one.id == other.id
    assert one.id.startswith("20161016-")
    assert one.manifest.files == other.manifest.files
    assert (one.directory / "manifest.json").read_bytes() == (other.directory / "manifest.json").read_bytes()
    assert build(BundleRepository(tmp_path / "one"), seed=1).id != one.id


def test_round_trip_and_memory_mapping(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    opened = repository.open(build(repository).id)
    assert opened.catalogue.ids.ids == ("a", "b/é")
    assert opened.catalogue.item(0).title == "A “quoted” 标题"
    assert isinstance(opened.catalogue.vectors, np.memmap)
    assert repository.ids() == [opened.id]


def test_a_large_catalogue_is_kept_as_it_is_in_the_file(tmp_path: Path) -> None:
    ids = [f"é{row}" for row in range(COMPACT_FROM)]
    attributes = [f'{{"title": "Number {row}"}}' for row in range(COMPACT_FROM)]
    # From a catalogue of strings, and from what was read from such a bundle.
    written: list[Bundle] = []
    for catalogue in (Catalogue(ids, attributes), None):
        with BundleRepository(tmp_path / str(len(written))).writer() as writer:
            writer.write_catalogue(written[0].catalogue if catalogue is None else catalogue)
            written.append(finish(writer))
    assert written[0].id == written[1].id
    opened = BundleRepository(tmp_path / "1").open(written[1].id).catalogue
    assert isinstance(opened.ids.ids, Texts)
    assert list(opened.ids) == ids
    assert list(opened.attributes_json) == attributes
    assert opened.ids.row("é99999") == 99_999
    assert opened.item(70_000) == Item("é70000", {"title": "Number 70000"})
    again = BundleRepository(tmp_path / "1").open(written[1].id).catalogue
    assert again.column("title")[-1] == "Number 99999"
    assert "_texts" not in vars(again.attributes_json), "who only reads columns keeps no attributes"
    assert again.item(99_999).title == "Number 99999"


def test_building_the_same_bundle_again_is_harmless(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    assert build(repository).id == build(repository).id
    assert [path.name for path in repository.local.iterdir()] == repository.ids()


def test_building_a_bundle_again_that_was_damaged_mends_it(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    path = next(bundle.directory.rglob("state.npy"))
    path.write_bytes(path.read_bytes()[:-1])
    damage = repository.damage(bundle.id)
    assert damage is not None
    assert "state.npy" in damage
    assert build(repository).id == bundle.id
    assert repository.damage(bundle.id) is None
    assert [path.name for path in repository.local.iterdir()] == [bundle.id]
    assert repository.damage("20161016-nothing") == "bundle 20161016-nothing is gone"


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_one_flipped_byte_anywhere_is_refused_by_name(tmp_path: Path, data: st.DataObject) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    name = data.draw(st.sampled_from([*bundle.manifest.files, "manifest.json"]))
    path = bundle.directory / name
    intact = path.read_bytes()
    position = data.draw(st.integers(0, len(intact) - 1))
    flipped = bytearray(intact)
    flipped[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    try:
        with pytest.raises(BundleError, match=name.replace(".", r"\.")):
            repository.open(bundle.id)
    finally:
        path.write_bytes(intact)
    assert repository.open(bundle.id).id == bundle.id


def test_missing_and_truncated_files_are_named(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    state = bundle.directory / "components/retriever.test/state.npy"
    content = state.read_bytes()
    state.write_bytes(content[:-5])
    with pytest.raises(BundleError, match=r"state\.npy has \d+ bytes instead of \d+"):
        repository.open(bundle.id)
    state.unlink()
    with pytest.raises(BundleError, match=r"state\.npy is missing"):
        repository.open(bundle.id)


def test_pickles_are_neither_written_nor_read(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    with repository.writer() as writer:
        (writer.component_directory("retriever.x") / "model.pkl").write_bytes(b"x")
        with pytest.raises(BundleError, match=r"model\.pkl"):
            writer.finish()
    assert repository.ids() == []


def test_renamed_bundle_is_refused(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    other = bundle.directory.with_name("20161016-000000000000")
    bundle.directory.rename(other)
    with pytest.raises(BundleError, match="altered"):
        repository.open(other.name)


@pytest.mark.parametrize("name", ["../x", "a/b", ".writing-x", "..", ""])
def test_ids_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError):
        BundleRepository(tmp_path).open(name)


def test_foreign_manifest_is_refused(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    manifest = bundle.directory / "manifest.json"
    changed = json.loads(manifest.read_text())
    changed["format_version"] = 99
    manifest.write_text(json.dumps(changed))
    with pytest.raises(BundleError, match="format 99"):
        repository.open(bundle.id)
    manifest.write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        repository.open(bundle.id)


def test_a_damaged_bundle_gives_way_to_the_previous_one(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    old, new = build(repository, 0), build(repository, 1)
    (new.directory / "item_vectors.npy").write_bytes(b"")
    assert open_newest(repository, [new.id, old.id]).id == old.id
    with pytest.raises(BundleError, match=r"item_vectors\.npy"):
        open_newest(repository, [new.id])
    with pytest.raises(BundleError, match="recserve train"):
        open_newest(repository, [])


def test_remote_location_is_fetched_and_verified(tmp_path: Path) -> None:
    location = (tmp_path / "shared").as_uri()
    trainer = BundleRepository(tmp_path / "trainer", location)
    bundle = build(trainer)
    trainer.publish(bundle)
    replica = BundleRepository(tmp_path / "replica", location)
    assert replica.ids() == [bundle.id]
    assert replica.open(bundle.id).manifest == bundle.manifest
    with pytest.raises(BundleError, match="cannot be opened"):
        BundleRepository(tmp_path, "nosuch://x/y")
    with pytest.raises(BundleError, match="cannot be opened") as refused:
        BundleRepository(tmp_path, "nosuch://key:word@x/y?token=word")
    assert "word" not in refused.value.message


class Lossy(LocalFileSystem):
    """A real file system of which some reads arrive cut off, altered or not at all."""

    cachable = False

    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self.faults = faults
        self.reads = 0

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "r" not in mode or not path.endswith(".npy"):
            return file
        self.reads += 1
        match self.faults.pop(0) if self.faults else "":
            case "cut off":
                return io.BytesIO(file.read()[:-1])
            case "altered":
                return io.BytesIO(file.read()[:-1] + b"!")
            case "broken":
                raise OSError("connection\nreset")
        return file

    def of(self, folder: Path) -> fs.FileSystem:
        return fs.SubTreeFileSystem(str(folder), fs.PyFileSystem(fs.FSSpecHandler(self)))


def published(tmp_path: Path) -> tuple[Bundle, str]:
    """A bundle, and the location that it was published to."""
    location = (tmp_path / "shared").as_uri()
    trainer = BundleRepository(tmp_path / "trainer", location)
    bundle = build(trainer)
    trainer.publish(bundle)
    return bundle, location


@pytest.mark.parametrize("fault", ["cut off", "altered", "broken"])
def test_what_is_damaged_on_its_way_is_fetched_again(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    bundle, _ = published(tmp_path)
    (tmp_path / "here").mkdir()
    lossy = Lossy([fault])
    fetch(lossy.of(tmp_path / "shared"), bundle.id, tmp_path / "here", Bundle.open)
    assert Bundle.open(tmp_path / "here" / bundle.id).manifest == bundle.manifest
    assert [path.name for path in (tmp_path / "here").iterdir()] == [bundle.id]
    assert bundle.id in caplog.text


def test_a_damaged_copy_never_has_the_name_of_a_bundle(tmp_path: Path) -> None:
    bundle, _ = published(tmp_path)
    (tmp_path / "here").mkdir()
    lossy = Lossy(["altered"] * 100)
    seen: list[str] = []

    def verify(copy: Path) -> Bundle:
        seen.extend(path.name for path in (tmp_path / "here").iterdir() if not path.name.startswith("."))
        return Bundle.open(copy)

    with pytest.raises(BundleError, match=r"in 3 attempts: .*\.npy was altered") as refused:
        fetch(lossy.of(tmp_path / "shared"), bundle.id, tmp_path / "here", verify)
    assert "\n" not in refused.value.message
    assert seen == []
    assert list((tmp_path / "here").iterdir()) == []
    assert lossy.reads < 10


def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path) -> None:
    bundle, location = published(tmp_path)
    replica = BundleRepository(tmp_path / "replica", location)
    copy = replica.open(bundle.id).directory / "item_vectors.npy"
    copy.write_bytes(copy.read_bytes()[:-1])
    assert replica.open(bundle.id).manifest == bundle.manifest
    assert [path.name for path in replica.local.iterdir()] == [bundle.id]
    # What was never published stays what it is: damaged.
    other = build(replica, seed=1)
    (other.directory / "item_vectors.npy").write_bytes(b"")
    with pytest.raises(BundleError, match=r"item_vectors\.npy has 0 bytes"):
        replica.open(other.id)


def test_what_is_damaged_in_object_storage_is_told(tmp_path: Path) -> None:
    bundle, location = published(tmp_path)
    (tmp_path / "shared" / bundle.id / "item_vectors.npy").write_bytes(b"")
    replica = BundleRepository(tmp_path / "replica", location)
    with pytest.raises(BundleError, match="publish it again"):
        replica.open(bundle.id)
    assert list(replica.local.iterdir()) == []
    with pytest.raises(BundleError, match=rf"no bundle 'other' \(known: {bundle.id}\)"):
        replica.open("other")


def test_a_manifest_is_read_alone(tmp_path: Path) -> None:
    repository = BundleRepository(tmp_path)
    bundle = build(repository)
    (bundle.directory / "items.parquet").unlink()
    assert repository.manifest(bundle.id) == bundle.manifest
    (bundle.directory / "manifest.json").write_bytes(b"{}")
    with pytest.raises(BundleError, match="damaged"):
        repository.manifest(bundle.id)
    with pytest.raises(BundleError, match="is gone"):
        repository.manifest("20260101-000000000000")
    with pytest.raises(BundleError, match="not a bundle id"):
        repository.manifest("../elsewhere")


def test_named_spaces_are_files_of_their_own_and_mapped_into_memory(tmp_path: Path) -> None:
    spaces = {"image": np.eye(2, 3, dtype=np.float32), "audio": np.zeros((2, 5), dtype=np.float32)}
    with BundleRepository(tmp_path).writer() as writer:
        writer.write_catalogue(Catalogue(["a", "b"], vectors=np.eye(2, 4, dtype=np.float32), spaces=spaces))
        bundle = finish(writer)
    assert {"item_vectors.npy", "item_vectors.image.npy"} < set(bundle.manifest.files)
    found = Bundle.open(bundle.directory).catalogue
    assert found.vectors is not None
    assert found.vectors.shape == (2, 4)
    assert found.spaces.keys() == spaces.keys()
    assert isinstance(found.spaces["image"], np.memmap)
    np.testing.assert_array_equal(found.spaces["image"], spaces["image"])
