"""Arrays that come back from a bundle, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recserve_neighbours.storage import read_array, read_lists

from recserve import BundleError

ROWS = np.array([[0, 2, -1], [1, -1, -1]], dtype=np.int32)
VALUES = np.array([[0.5, 0.25, 0.0], [1.0, 0.0, 0.0]], dtype=np.float32)


def write(folder: Path, rows: np.ndarray = ROWS, values: np.ndarray = VALUES) -> Path:
    np.save(folder / "rows.npy", rows)
    np.save(folder / "values.npy", values)
    return folder


def test_lists_come_back_mapped(tmp_path: Path) -> None:
    rows, values = read_lists(write(tmp_path), "rows.npy", "values.npy", 3)
    np.testing.assert_array_equal(rows, ROWS)
    np.testing.assert_array_equal(values, VALUES)
    assert isinstance(rows, np.memmap)


@pytest.mark.parametrize(
    ("rows", "values", "message"),
    [
        (ROWS[:1], VALUES, "the shapes differ"),
        (ROWS + 1, VALUES, "made for other items than the 3"),
        (ROWS - 1, VALUES, "made for other items than the 3"),
        (ROWS, VALUES - 1, "impossible values"),
        (ROWS, VALUES * np.float32(np.nan), "impossible values"),
        (ROWS.astype(np.int64), VALUES, "2-dimensional array of int32"),
        (ROWS[0], VALUES, "2-dimensional array of int32"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, rows, values, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_lists(write(tmp_path, rows, values), "rows.npy", "values.npy", 3)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    with pytest.raises(BundleError, match=r"rows\.npy cannot be read"):
        read_array(path, np.int32, 2)
    write(tmp_path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BundleError, match=r"rows\.npy cannot be read"):
        read_array(path, np.int32, 2)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleError, match="cannot be read"):
        read_array(tmp_path / "rows.npy", np.int32, 1)
