"""Arrays of a bundle, read back and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recserve import BundleError


def read_array(path: Path, dtype: type[np.generic], ndim: int) -> NDArray[Any]:
    """A memory-mapped array, so that processes share one copy.

    Raises:
        BundleError: The file is missing, damaged or of another kind.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BundleError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(dtype) or array.ndim != ndim:
        raise BundleError(f"{path} does not hold a {ndim}-dimensional array of {np.dtype(dtype)}")
    return array


def read_lists(
    directory: Path, rows_file: str, values_file: str, n_items: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Lists of item rows, padded with -1, and a finite non-negative number for each entry.

    Raises:
        BundleError: A file is missing or damaged, or they do not belong together or to the catalogue.
    """
    rows = read_array(directory / rows_file, np.int32, 2)
    values = read_array(directory / values_file, np.float32, 2)
    if rows.shape != values.shape:
        raise BundleError(f"{directory / values_file} does not belong to {rows_file}: the shapes differ")
    if rows.size and not (int(rows.min()) >= -1 and int(rows.max()) < n_items):
        raise BundleError(
            f"{directory / rows_file} was made for other items than the {n_items} of the catalogue"
        )
    if not np.isfinite(values).all() or (values < 0).any():
        raise BundleError(f"{directory / values_file} holds impossible values")
    return rows, values
