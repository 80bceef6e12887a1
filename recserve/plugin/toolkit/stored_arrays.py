"""Arrays of a bundle's files, memory-mapped, and refused where they do not fit the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recserve.errors import BundleError


def read_array(path: Path, dtype: DTypeLike, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A memory-mapped array, so that processes share one copy.

    Args:
        path: What ``np.save`` wrote.
        dtype: Its element type.
        shape: Its shape; None for an axis of any length.

    Raises:
        BundleError: The file is missing, damaged, of another kind or made for another catalogue.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != len(shape):
        raise BundleError(f"{path} does not hold a {len(shape)}-dimensional array of {np.dtype(dtype)}")
    if any(wanted not in (None, length) for wanted, length in zip(shape, array.shape, strict=True)):
        wanted_shape = " x ".join("any" if length is None else f"{length}" for length in shape)
        raise BundleError(
            f"{path} holds {' x '.join(map(str, array.shape))} values, the catalogue asks for {wanted_shape}"
        )
    # A plain array: slices of `np.memmap` cost more.
    return array.view(np.ndarray)


def read_item_lists(
    rows: Path, values: Path, n_items: int, *, lists: int | None = None, lowest: float = -np.inf
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Lists of item rows with a finite number for each.

    Args:
        rows: File of int32, shape (L, w); -1 pads.
        values: File of float32, same shape.
        n_items: Items of the catalogue.
        lists: L; None for any number of lists.
        lowest: Smallest number that makes sense.

    Raises:
        BundleError: As for :func:`read_array`.
    """
    listed = read_array(rows, np.int32, (lists, None))
    numbers = read_array(values, np.float32, listed.shape)
    if listed.size and not (int(listed.min()) >= -1 and int(listed.max()) < n_items):
        raise BundleError(f"{rows} names items outside the catalogue of {n_items}")
    if not np.isfinite(numbers).all() or (numbers < lowest).any():
        raise BundleError(f"{values} holds impossible values")
    return listed, numbers
