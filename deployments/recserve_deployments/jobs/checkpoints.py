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
from pyarrow import fs

from recserve.errors import ConfigError

logger = logging.getLogger(__name__)

Checkpoint = tuple[int, dict[str, Any]]
_EPOCH = "epoch"


@dataclass(frozen=True)
class Checkpoints:
    """Folder with a file for each unfinished training loop: arrays and numbers by name, and the epoch.

    Only the process that began the loop reads and writes it, so that workers need not share a disk.

    Attributes:
        filesystem: Where it lies.
        folder: Its path there.
    """

    filesystem: fs.FileSystem
    folder: str

    @classmethod
    def at(cls, place: str | Path) -> Checkpoints:
        """The folder at a path, or at a URI such as ``s3://bucket/checkpoints``.

        Raises:
            ConfigError: The URI is none, or cannot be reached.
        """
        if isinstance(place, Path) or "://" not in place:
            place = Path(place).resolve().as_uri()
        try:
            filesystem, folder = fs.FileSystem.from_uri(place)
        except (OSError, ValueError) as error:
            raise ConfigError(f"checkpoints: {place}: {error}", field="checkpoints") from None
        return cls(filesystem, folder)

    def read(self, name: str) -> Checkpoint | None:
        """The epoch and state that a loop was at; None if there is none, or it is damaged."""
        try:
            with self.filesystem.open_input_stream(self._path(name)) as file:
                content = file.read()
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
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
        path = self._path(name)
        try:
            self.filesystem.create_dir(self.folder, recursive=True)
            with self.filesystem.open_output_stream(f"{path}.new") as file:
                file.write(content.getbuffer())
            self.filesystem.move(f"{path}.new", path)
        except OSError as error:
            logger.warning("the checkpoint %s cannot be written: %s", path, error)

    def remove(self, name: str) -> None:
        """Forget a loop that has ended."""
        with suppress(OSError):
            self.filesystem.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}.npz"


def _plain(array: Any) -> Any:
    """Numbers come back as numbers."""
    return array if array.ndim else array.item()
