"""Settings of connections: secrets come from the environment, and mistakes are named."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from recserve.config import KafkaConfig
from recserve.errors import ConfigError, RuntimeEnvironmentError
from recserve.streams.connection import aiokafka, client_options, close


def test_a_plain_connection_needs_nothing() -> None:
    options = client_options(KafkaConfig(servers=("a:1", "b:2")))
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert not {name for name in options if name.startswith(("sasl", "ssl"))}


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = KafkaConfig(
        protocol="SASL_SSL", mechanism="SCRAM-SHA-512", username="recserve", password="${KAFKA_PASSWORD}"
    )
    with pytest.raises(ConfigError, match=r"streams\.kafka\.password: .* KAFKA_PASSWORD is not set"):
        client_options(config)
    monkeypatch.setenv("KAFKA_PASSWORD", "hidden")
    options = client_options(config)
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("recserve", "hidden")
    assert options["ssl_context"].check_hostname
    assert "hidden" not in repr(KafkaConfig(protocol="SASL_SSL", username="u", password="hidden"))


def test_a_certificate_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match="a certificate or key cannot be read"):
            client_options(KafkaConfig(protocol="SSL", ca_file=str(tmp_path / name)))


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(RuntimeEnvironmentError, match=r"pip install 'recserve\[kafka\]'"):
        aiokafka()


class Client:
    """A client whose closing ends in one of several ways."""

    def __init__(self, ending: BaseException | None) -> None:
        self._ending = ending

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        if self._ending is not None:
            raise self._ending


@pytest.mark.parametrize("ending", [None, OSError("gone"), asyncio.CancelledError()])
def test_closing_never_fails(ending: BaseException | None) -> None:
    asyncio.run(close(Client(ending)))
