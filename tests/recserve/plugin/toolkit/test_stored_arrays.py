"""Arrays read from a bundle: what does not fit is refused with the file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recserve import BundleError, read_array, read_item_lists


def saved(path: Path, array: Any) -> Path:
    np.save(path, array, allow_pickle=False)
    return path


def test_an_array_comes_back_without_being_read_into_memory(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", np.arange(6, dtype=np.float32).reshape(2, 3))
    found = read_array(path, np.float32, (2, None))
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(found) is np.ndarray
    assert isinstance(found.base, np.memmap)


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        (np.float64, (2, 3), "2-dimensional array of float64"),
        (np.float32, (6,), "1-dimensional array"),
        (np.float32, (3, None), "holds 2 x 3 values, the catalogue asks for 3 x any"),
    ],
)
def test_another_type_or_shape_is_refused(
    tmp_path: Path, dtype: Any, shape: tuple[int | None, ...], words: str
) -> None:
    path = saved(tmp_path / "a.npy", np.zeros((2, 3), dtype=np.float32))
    with pytest.raises(BundleError, match=rf"a\.npy.*{words}"):
        read_array(path, dtype, shape)


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"not an array"])
def test_a_missing_or_damaged_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.npy cannot be read") as caught:
        read_array(path, np.float32, (None,))
    assert "\n" not in caught.value.message


def test_lists_name_items_of_the_catalogue_and_hold_finite_numbers(tmp_path: Path) -> None:
    rows = saved(tmp_path / "rows.npy", np.array([[2, -1], [0, 1]], dtype=np.int32))
    values = saved(tmp_path / "values.npy", np.array([[0.5, 0], [-1, 2]], dtype=np.float32))
    found = read_item_lists(rows, values, 3)
    assert [part.tolist() for part in found] == [[[2, -1], [0, 1]], [[0.5, 0], [-1, 2]]]
    with pytest.raises(BundleError, match=r"rows\.npy names items outside the catalogue of 2"):
        read_item_lists(rows, values, 2)
    with pytest.raises(BundleError, match=r"rows\.npy holds 2 x 2 values, the catalogue asks for 3 x any"):
        read_item_lists(rows, values, 3, lists=3)
    with pytest.raises(BundleError, match=r"values\.npy holds impossible values"):
        read_item_lists(rows, values, 3, lowest=0.0)
    saved(values, np.full((2, 2), np.nan, dtype=np.float32))
    with pytest.raises(BundleError, match=r"values\.npy holds impossible values"):
        read_item_lists(rows, values, 3)
    saved(values, np.zeros((2, 1), dtype=np.float32))
    with pytest.raises(BundleError, match=r"values\.npy holds 2 x 1"):
        read_item_lists(rows, values, 3)
