"""Last state of training loops, on a local disk or in object storage."""

from __future__ import annotations

import io
import logging
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recserve.data.system.folder import Folder

logger = logging.getLogger(__name__)

Checkpoint = tuple[int, dict[str, Any]]
_EPOCH = "epoch"


@dataclass(frozen=True)
class Checkpoints:
    """Folder with a file for each unfinished training loop: arrays and numbers by name, and the epoch.

    Only the process that began the loop reads and writes it, so that workers need not share a disk.

    Attributes:
        folder: Where the files are.
    """

    folder: Folder

    @classmethod
    def at(cls, place: str | Path) -> Checkpoints:
        """The folder at a path, or at a URI such as ``s3://bucket/checkpoints``.

        Raises:
            ConfigError: The URI is none, or cannot be reached.
        """
        return cls(Folder.at(place, "checkpoints"))

    def read(self, name: str) -> Checkpoint | None:
        """The epoch and state that a loop was at; None if there is none, or it is damaged."""
        try:
            with np.load(io.BytesIO(self.folder.read(_file(name))), allow_pickle=False) as arrays:
                state = {key: _plain(arrays[key]) for key in arrays.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            logger.warning("the checkpoint %s cannot be read, training begins anew: %s", name, error)
            return None
        return int(state.pop(_EPOCH)), state

    def write(self, name: str, checkpoint: Checkpoint) -> None:
        """Keep the state that a loop is at, in place of an earlier one.

        A place that cannot be written to costs a repetition after a loss, not the run: a warning is logged.
        """
        epoch, state = checkpoint
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **{**state, _EPOCH: epoch})
        try:
            self.folder.write(_file(name), content.getvalue())
        except OSError as error:
            logger.warning("a checkpoint in %s cannot be written: %s", self.folder.shown, error)

    def remove(self, name: str) -> None:
        """Forget a loop that has ended."""
        with suppress(OSError):
            self.folder.remove(_file(name))


def _file(name: str) -> str:
    return f"{name}.npz"


def _plain(array: Any) -> Any:
    """Numbers come back as numbers."""
    return array if array.ndim else array.item()
