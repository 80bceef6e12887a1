"""Connections to brokers that speak the Kafka protocol."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
from typing import Any, Protocol

from recserve.config import KafkaConfig, from_environment
from recserve.errors import ConfigError, RuntimeEnvironmentError

logger = logging.getLogger("recserve.streams")

CLOSING_SECONDS = 10.0


class Client(Protocol):
    """Protocol of a consumer or a producer."""

    async def start(self) -> None:
        """Connect."""
        ...

    async def stop(self) -> None:
        """Disconnect."""
        ...


def aiokafka() -> Any:
    """The client library.

    Raises:
        RuntimeEnvironmentError: It is not installed.
    """
    try:
        return importlib.import_module("aiokafka")
    except ModuleNotFoundError:
        raise RuntimeEnvironmentError(
            "Kafka needs aiokafka, which is not installed: pip install 'recserve[kafka]'"
        ) from None


def client_options(config: KafkaConfig) -> dict[str, Any]:
    """Arguments of a client of aiokafka, secrets read from the environment.

    Raises:
        ConfigError: A variable is not set, or a certificate cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.servers),
        "client_id": "recserve",
        "security_protocol": config.protocol,
        "request_timeout_ms": 20_000,
    }
    if config.protocol.startswith("SASL"):
        options["sasl_mechanism"] = config.mechanism
        options["sasl_plain_username"] = _secret(config.username, "username")
        options["sasl_plain_password"] = _secret(config.password, "password")
    if config.protocol.endswith("SSL"):
        options["ssl_context"] = _tls(config)
    return options


def _secret(value: str | None, name: str) -> str | None:
    return None if value is None else from_environment(value, f"streams.kafka.{name}")


def _tls(config: KafkaConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        if config.certificate_file:
            # Never asks a terminal: a key that needs a password and has none is a mistake.
            password = _secret(config.key_password, "key_password") or ""
            context.load_cert_chain(config.certificate_file, config.key_file, lambda: password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"streams.kafka: a certificate or key cannot be read: {error.strerror or error}",
            field="streams.kafka",
        ) from None
    return context


async def close(client: Client) -> None:
    """Disconnect within a few seconds, whatever state the client and its broker are in."""
    # In a task of its own: where the broker is gone, aiokafka lets the cancellation of a task of its own out.
    closing = asyncio.ensure_future(client.stop())
    await asyncio.wait({closing}, timeout=CLOSING_SECONDS)
    if not closing.done():
        closing.cancel()
        await asyncio.wait({closing}, timeout=1.0)
    elif not closing.cancelled() and (error := closing.exception()) is not None:
        logger.info("a connection was not closed cleanly: %s", error)
