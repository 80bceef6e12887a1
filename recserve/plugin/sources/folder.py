"""Data sources of a domain plugin: the files of a folder, or a made-up sample in the same format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from recserve.data.dataset import Tables


@dataclass(frozen=True, slots=True)
class Demo:
    """Example by which ``recserve demo`` shows a data source.

    A data source that can be built without parameters is shown by ``recserve demo --domain PLUGIN`` if it has
    an attribute ``demo`` of this type.

    Attributes:
        user_id: A user of the data.
        event: Type of the event that is told of the first recommendation.
        value: Its value.
        shown: Attributes of items shown beside the title.
    """

    user_id: str
    event: str
    value: float | None = None
    shown: tuple[str, ...] = ()


class FolderParams(BaseModel):
    """Parameters of a data source that reads the files of a folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="Folder with the files.")


class FolderSource:
    """Data source that reads the files of a folder.

    Args:
        read: Reads the folder; raises :class:`recserve.DataError` where it cannot.
        folder: The folder.
        config: YAML file with the suggested configuration.
    """

    def __init__(self, read: Callable[[Path], Tables], folder: Path, config: Path) -> None:
        self._read = read
        self._folder = folder.expanduser()
        self._config = config

    def read(self) -> Tables:
        """Everything that is in the folder.

        Raises:
            DataError: A file is missing or not what it claims to be.
        """
        return self._read(self._folder)

    def suggested_config(self) -> Mapping[str, Any]:
        """Content of the YAML file."""
        return read_config(self._config)


class SampleSource:
    """Data source of a made-up sample, written in the format of a folder and read back.

    Args:
        write: Writes the files into an existing folder, the same each time.
        read: Reads the folder.
        config: YAML file with the suggested configuration.
        demo: How ``recserve demo`` shows it.
    """

    def __init__(
        self, write: Callable[[Path], None], read: Callable[[Path], Tables], config: Path, demo: Demo
    ) -> None:
        self._write = write
        self._read = read
        self._config = config
        self.demo = demo

    def read(self) -> Tables:
        """The whole sample."""
        with tempfile.TemporaryDirectory(prefix="recserve-sample-") as folder:
            self._write(Path(folder))
            return self._read(Path(folder))

    def suggested_config(self) -> Mapping[str, Any]:
        """Content of the YAML file."""
        return read_config(self._config)


def read_config(path: Path) -> Mapping[str, Any]:
    """A configuration file that lies in the package of a plugin."""
    content: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
