"""Reading of configuration files, and of settings that name environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recserve.config.mistakes import describe_validation_error, location
from recserve.config.root import Config
from recserve.errors import ConfigError


def load_config(path: Path | None) -> Config:
    """Read a YAML configuration; ``None`` gives the defaults.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or holds an unknown key or a bad value.
    """
    if path is None:
        return Config()
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    return parse_config(raw, str(path))


def parse_config(raw: object, origin: str = "configuration") -> Config:
    """Validate a plain mapping.

    Raises:
        ConfigError: Names the key, the value and the nearest valid key.
    """
    if not isinstance(raw, dict):
        raise ConfigError(f"{origin} must be a mapping of keys to values")
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(
            f"{origin}: {describe_validation_error(error, Config)}",
            field=location(error.errors()[0]["loc"]),
        ) from None


def from_environment(text: str, field: str) -> str:
    """A setting with each ``${NAME}`` replaced by that environment variable of this process.

    Settings that hold secrets are replaced where they are used, so that a configuration which travels to
    other processes, or is shown, never holds them.

    Raises:
        ConfigError: A variable is not set.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in os.environ:
            raise ConfigError(f"{field}: the environment variable {name} is not set", field=field)
        return os.environ[name]

    return re.sub(r"\$\{(\w+)\}", value, text)


def plain_config(config: Config) -> dict[str, Any]:
    """A configuration as plain data: what was written, and always the scenarios."""
    plain = config.model_dump(mode="json", exclude_unset=True)
    if "scenarios" not in plain:
        plain["scenarios"] = {
            name: pipeline.model_dump(mode="json", exclude_unset=True)
            for name, pipeline in config.scenarios.items()
        }
    return plain
