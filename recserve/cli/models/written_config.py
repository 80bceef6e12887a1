"""Configuration file that ``recserve train --auto`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from recserve.cli.common import CONFIG_NAME, State, out
from recserve.errors import ConfigError

if TYPE_CHECKING:
    from recserve.training.automatic import AutomaticPipeline

_BEFORE = ".before-auto"


def writable_config(state: State, *, overwrite: bool) -> Path:
    """Where a chosen pipeline is to be written.

    Raises:
        ConfigError: There is a file already, and nobody asked to replace its scenarios.
    """
    path = state.config_file
    if path is None:
        return state.home / CONFIG_NAME
    if not overwrite:
        raise ConfigError(
            f"--auto would replace the scenarios of {path}; add --overwrite (the file is kept as "
            f"{path.name}{_BEFORE}), or leave --auto out to train what it says"
        )
    return path


def write_config(path: Path, chosen: AutomaticPipeline) -> None:
    """Write a chosen pipeline, with whatever else the file held; an earlier file is kept beside it."""
    written: dict[str, Any] = {}
    if path.exists():
        written = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        path.replace(path.with_name(path.name + _BEFORE))
    path.write_text(chosen.as_yaml(written), encoding="utf-8")
    out.print(f"wrote {path}; a running server reads it when it is started again", soft_wrap=True)
