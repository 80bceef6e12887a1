"""Vectors of items out of files: in columns of an items file, and in files of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recserve import Item
from recserve.errors import DataError
from recserve.store import Store, open_store
from recserve.store.ingest import FileReport, VectorCells, import_vectors, read_items, read_vectors

GOOD = [1.0, 2.0, 3.0]


def lines(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def taken(path: Path, **spaces: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, Any], FileReport]:
    """Vectors by space and item, attributes by item, and the report."""
    cells = VectorCells(spaces or {"image": 3})
    table, report = read_items(path, vectors=cells)
    attributes = {one["item_id"]: json.loads(one["attributes"]) for one in table.to_pylist()}
    found = {
        space: dict(zip(named.item_ids, named.vectors.tolist(), strict=True))
        for space, named in cells.found.items()
    }
    return found, attributes, report


@pytest.mark.parametrize(
    "row",
    [
        {"vectors": {"image": GOOD}},
        {"vectors.image": GOOD},
        {"image": GOOD},
        {"vectors": json.dumps({"image": GOOD})},
        {"vectors.image": json.dumps(GOOD)},
    ],
)
def test_json_has_them_in_an_object_or_in_columns(tmp_path: Path, row: dict[str, Any]) -> None:
    path = lines(tmp_path, {"item_id": "a", "title": "A", **row}, {"item_id": "b", "title": "B"})
    found, attributes, report = taken(path)
    assert found == {"image": {"a": GOOD}}
    assert attributes == {"a": {"title": "A"}, "b": {"title": "B"}}
    assert report.taken == 2


def test_text_in_a_column_called_as_the_space_is_an_attribute(tmp_path: Path) -> None:
    path = lines(tmp_path, {"item_id": "a", "image": "a.jpg", "vectors.image": GOOD})
    found, attributes, _ = taken(path)
    assert found == {"image": {"a": GOOD}}
    assert attributes == {"a": {"image": "a.jpg"}}


def test_without_a_declared_space_such_columns_are_attributes_as_before(tmp_path: Path) -> None:
    path = lines(tmp_path, {"item_id": "a", "vectors": {"image": GOOD}, "image": GOOD})
    table, _ = read_items(path)
    assert json.loads(table["attributes"][0].as_py()) == {"vectors": {"image": GOOD}, "image": GOOD}


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([1.0, 2.0], "vectors.image has 2 numbers instead of 3"),
        ([0, 0, 0], "vectors.image is zero, which has no direction"),
        ([1, float("nan"), 2], "vectors.image holds NaN or infinity"),
        ([1, 1e300, 2], "vectors.image holds NaN or infinity"),
        (["1", "2", "3"], "vectors.image is not an array of numbers"),
        ([[1, 2, 3]], "vectors.image is not an array of numbers"),
        ("red", "vectors.image is not an array of numbers"),
        (7, "vectors.image is not an array of numbers"),
    ],
)
def test_what_is_no_vector_is_refused_and_counted(tmp_path: Path, cell: Any, said: str) -> None:
    path = lines(tmp_path, {"item_id": "a", "vectors.image": cell}, {"item_id": "b", "vectors.image": GOOD})
    found, attributes, report = taken(path)
    assert found == {"image": {"b": GOOD}}
    assert list(attributes) == ["b"]
    assert report.counts == {("error", said): 1}
    assert [problem.line for problem in report.problems] == [1]


def test_an_unknown_space_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = lines(tmp_path, {"item_id": "a", "vectors": {"imgae": GOOD}}, {"item_id": "b"})
    _, _, report = taken(path)
    ((_, kind),) = report.counts
    assert "vectors.imgae: there is no such space in recserve.yaml" in kind
    assert "image" in kind
    with pytest.raises(DataError, match=r"column 'vectors\.audio'.*vectors: \{audio: \{dimensions: N\}\}"):
        taken(lines(tmp_path, {"item_id": "a", "vectors.audio": GOOD}))


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float32(), 3), pa.large_list(pa.float16())],
)
def test_parquet_has_lists(tmp_path: Path, kind: pa.DataType) -> None:
    cells = [np.array(GOOD, np.float16), None, np.array([3, 2, 1], np.float16)]
    if not pa.types.is_float16(kind.value_type):
        cells = [None if cell is None else cell.astype(np.float64) for cell in cells]
    column = pa.array([None if cell is None else list(cell) for cell in cells], kind)
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "vectors.image": column, "year": [1, 2, 3]}), path)
    found, attributes, report = taken(path)
    assert found == {"image": {"a": GOOD, "c": [3, 2, 1]}}
    assert attributes["b"] == {"year": 2}
    assert report.taken == 3


def test_a_later_row_of_an_item_replaces_its_vectors_too(tmp_path: Path) -> None:
    rows = [
        {"item_id": "a", "vectors": {"image": GOOD, "audio": [1, 1]}},
        {"item_id": "a", "vectors.audio": [2, 1]},
    ]
    found, _, report = taken(lines(tmp_path, *rows), image=3, audio=2)
    assert found == {"audio": {"a": [2, 1]}}
    assert report.count("replaced") == 1


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "vectors.npz"
    np.savez(path, **arrays)
    return path


def npy(folder: Path) -> Path:
    np.save(folder / "v.npy", np.array([GOOD, GOOD], dtype=np.float32))
    (folder / "v.ids.txt").write_text("a\nb\n")
    return folder / "v.npy"


def parquet(folder: Path) -> Path:
    path = folder / "v.parquet"
    pq.write_table(pa.table({"item_id": ["a", "b"], "vector": [GOOD, GOOD]}), path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: saved(folder, item_id=["a", "b"], vectors=np.array([GOOD, GOOD])),
        lambda folder: saved(
            folder, item_id=np.array(["a", "b"]), vectors=np.array([GOOD, GOOD], np.float16)
        ),
        npy,
        parquet,
    ],
)
def test_files_of_vectors_alone(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    named, report = read_vectors(make(tmp_path), "image", 3)
    assert list(named.item_ids) == ["a", "b"]
    assert named.vectors.tolist() == [GOOD, GOOD]
    assert (report.rows, report.taken) == (2, 2)


def test_numbers_may_be_ids(tmp_path: Path) -> None:
    named, _ = read_vectors(saved(tmp_path, item_id=np.array([7, 8]), vectors=np.eye(2)), "image", 2)
    assert list(named.item_ids) == ["7", "8"]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vectors": np.eye(3)}, "lacks the array 'item_id'"),
        ({"item_id": ["a"], "vectors": np.eye(3)}, "1 ids but 3 vectors"),
        ({"item_id": ["a"], "vectors": np.ones(3)}, "shape"),
        ({"item_id": np.array([1.5]), "vectors": np.ones((1, 3))}, "not of texts or whole numbers"),
        ({"item_id": np.array([{}], dtype=object), "vectors": np.ones((1, 3))}, "cannot read"),
        ({"item_id": np.array([], dtype=str), "vectors": np.ones((0, 3))}, "holds no rows"),
        ({"item_id": ["a"], "vectors": np.zeros((1, 3))}, "zero"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said) as refusal:
        read_vectors(saved(tmp_path, **arrays), "image", 3)
    assert "\n" not in refusal.value.message


def test_an_array_without_ids_beside_it_says_what_is_missing(tmp_path: Path) -> None:
    path = npy(tmp_path)
    (tmp_path / "v.ids.txt").unlink()
    with pytest.raises(DataError, match=r"needs v\.ids\.txt"):
        read_vectors(path, "image", 3)
    with pytest.raises(DataError, match="no file"):
        read_vectors(tmp_path / "none.npz", "image", 3)


@pytest.fixture
def catalogue(tmp_path: Path) -> Any:
    with open_store(None, tmp_path) as store:
        store.upsert_items([Item("a", {"title": "A"}), Item("b")])
        yield store


def test_vectors_of_unknown_items_are_counted(catalogue: Store, tmp_path: Path) -> None:
    path = saved(tmp_path, item_id=["b", "a", "x", "y"], vectors=np.ones((4, 3)))
    named, _ = read_vectors(path, "image", 3)
    assert import_vectors(catalogue, {"image": named}) == {"image": (2, ["x", "y"])}
    assert sorted(catalogue.snapshot().vectors["image"].item_ids) == ["a", "b"]
    assert catalogue.items(["a"])["a"].attributes == {"title": "A"}
