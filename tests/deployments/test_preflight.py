"""What works on one node and silently not on several is a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from recserve_deployments.app import AppArgs, build
from recserve_deployments.preflight import traps

from recserve.config import parse_config
from recserve.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("/var/lib/recserve")
GOOD: dict[str, Any] = {
    "store": {"url": "${STORE_URL}"},
    "bundles": "${BUNDLES}",
    "server": {"host": "0.0.0.0"},
}


def lines(config: dict[str, Any], *, shared: bool = False) -> list[str]:
    parsed = parse_config(config)
    return traps(parsed, parsed.server.host, HOME, 3, shared=shared)


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("STORE_URL", "postgresql://user:secret@host/database")
    monkeypatch.setenv("BUNDLES", "s3://bucket/recserve")
    return monkeypatch


def test_the_defaults_are_three_lines() -> None:
    assert [line.split()[0] for line in lines({})] == ["store.url:", "bundles:", "server.host:"]


def test_settings_by_environment_variable_are_what_the_variables_say(variables: pytest.MonkeyPatch) -> None:
    assert lines(GOOD) == []
    variables.setenv("BUNDLES", "/srv/bundles")
    (line,) = lines(GOOD)
    assert line.startswith("bundles: /srv/bundles is a folder of one machine")
    assert lines(GOOD, shared=True) == []
    variables.setenv("STORE_URL", "sqlite:////srv/store.db")
    assert [line.split()[0] for line in lines(GOOD, shared=True)] == ["store.url:"]


@pytest.mark.parametrize("missing", ["STORE_URL", "BUNDLES"])
def test_gpu_yaml_without_database_or_bucket_is_a_line(missing: str, variables: pytest.MonkeyPatch) -> None:
    variables.delenv(missing)
    raw = yaml.safe_load((ROOT / "deployments" / "configs" / "gpu.yaml").read_text())
    args = AppArgs.model_validate(raw["applications"][0]["args"])
    with pytest.raises(
        ConfigError, match=rf"^(store.url|bundles): the environment variable {missing} is not set$"
    ):
        build(args)
