"""Streams: topics that are read into the store, and where exposures and deletions are passed on to."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from recserve.config.strict import Strict

TopicKind = Literal["events", "items", "users", "deletions"]
SinkKind = Literal["exposures", "events", "deletions"]

_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
_NAME = r"^[a-z][a-z0-9_-]{0,63}$"
_SECRET = " Name a secret as `${NAME}`: it is read from the environment of whoever connects."


class KafkaConfig(Strict):
    """Brokers that speak the Kafka protocol, and how to sign in to them."""

    servers: tuple[str, ...] = Field(
        ("localhost:9092",), min_length=1, description="Some of the brokers, each HOST:PORT."
    )
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Whether connections are encrypted (SSL), and clients sign in (SASL)."
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How a client signs in with SASL."
    )
    username: str | None = Field(None, description="For SASL." + _SECRET)
    password: str | None = Field(None, repr=False, description="For SASL." + _SECRET)
    ca_file: str | None = Field(
        None, description="PEM file of the authorities that vouch for the brokers; default: the system's."
    )
    certificate_file: str | None = Field(
        None, description="PEM file of the client's certificate, where brokers ask for one."
    )
    key_file: str | None = Field(None, description="PEM file of its private key.")
    key_password: str | None = Field(None, repr=False, description="Password of `key_file`." + _SECRET)

    @field_validator("servers", mode="before")
    @classmethod
    def _split(cls, servers: object) -> object:
        return tuple(part.strip() for part in servers.split(",")) if isinstance(servers, str) else servers

    @field_validator("servers")
    @classmethod
    def _have_ports(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            host, _, port = server.rpartition(":")
            if not host or "/" in server or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{server!r} is not HOST:PORT, such as kafka.example.com:9092")
        return servers

    @model_validator(mode="after")
    def _goes_together(self) -> KafkaConfig:
        if self.protocol.startswith("SASL") and not (self.username and self.password):
            raise ValueError(f"{self.protocol} needs username and password")
        if not self.protocol.startswith("SASL") and (self.username or self.password):
            raise ValueError(f"username and password need protocol SASL_SSL, not {self.protocol}")
        files = (self.ca_file, self.certificate_file, self.key_file)
        if not self.protocol.endswith("SSL") and any(files):
            raise ValueError(f"certificates need protocol SSL or SASL_SSL, not {self.protocol}")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file")
        return self


class SourceConfig(Strict):
    """Topics that `recserve stream source` reads into the store."""

    topics: dict[str, TopicKind] = Field(
        min_length=1,
        description="Topic -> what its messages are: `events`, `items`, `users` (each as in `POST "
        "/v1/events`, `/v1/items`, `/v1/users`), or `deletions` (`{user_id: ...}` or `{item_id: ...}`).",
    )
    group: str = Field(
        "recserve",
        min_length=1,
        max_length=200,
        description="Consumer group: its members share the partitions, its offsets say how far it is.",
    )
    begin: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a group begins that has no offsets yet."
    )
    dead_letters: str | None = Field(
        None,
        pattern=_TOPIC,
        description="Topic that refused messages are written to, with the reason as a header; default: they "
        "are logged and counted only.",
    )
    batch: int = Field(
        2_000, ge=1, le=10_000, description="Messages of one transaction of the store at most."
    )

    @field_validator("topics")
    @classmethod
    def _check_names(cls, topics: dict[str, TopicKind]) -> dict[str, TopicKind]:
        for topic in topics:
            if not re.fullmatch(_TOPIC, topic):
                raise ValueError(f"{topic[:80]!r} is no name of a topic: letters, digits, '.', '_' and '-'")
        return topics

    @model_validator(mode="after")
    def _dead_letters_apart(self) -> SourceConfig:
        if self.dead_letters in self.topics:
            raise ValueError(f"{self.dead_letters} cannot be read and take dead letters too")
        return self


class WebhookConfig(Strict):
    """A URL that changes are posted to."""

    url: str = Field(description="http or https." + _SECRET)
    secret: str = Field(
        min_length=1,
        repr=False,
        description="Key of the signatures, at least 24 characters; of one that begins with `whsec_` the "
        "rest is base64." + _SECRET,
    )
    timeout_seconds: float = Field(15.0, gt=0, le=300, description="How long an answer may take.")

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        if url.startswith("${"):
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write a URL such as https://example.com/hooks/recserve")
        return url


class SinkConfig(Strict):
    """Where changes of the store are passed on to: topics, or a URL."""

    topics: dict[SinkKind, str] | None = Field(
        None,
        description="What -> topic: `exposures` (answers that were given), `events` (stored ones), "
        "`deletions` (of users and of items). One topic may take several.",
    )
    webhook: WebhookConfig | None = Field(None, description="Instead of topics.")
    send: tuple[SinkKind, ...] = Field(
        ("exposures", "deletions"), min_length=1, description="What is posted to the webhook."
    )
    begin: Literal["earliest", "latest"] = Field(
        "earliest", description="Whether a new sink begins with all that is stored, or with what comes."
    )
    batch: int = Field(500, ge=1, le=10_000, description="Changes that are sent together at most.")
    every_seconds: float = Field(1.0, gt=0, le=3600, description="How often to look for changes.")

    @model_validator(mode="after")
    def _one_target(self) -> SinkConfig:
        if (self.webhook is None) == (not self.topics):
            raise ValueError("a sink needs either topics or a webhook")
        if self.topics and "send" in self.model_fields_set:
            raise ValueError("send goes with a webhook; what a Kafka sink sends is said by its topics")
        return self

    @property
    def kinds(self) -> frozenset[SinkKind]:
        """What is passed on."""
        return frozenset(self.topics or self.send)


class StreamsConfig(Strict):
    """Streams in and out, run by `recserve stream`."""

    kafka: KafkaConfig = KafkaConfig()
    source: SourceConfig | None = Field(None, description="What `recserve stream source` reads.")
    sinks: dict[str, SinkConfig] = Field(
        default_factory=dict, description="Name -> what `recserve stream sink NAME` passes on."
    )

    @field_validator("sinks")
    @classmethod
    def _check_names(cls, sinks: dict[str, SinkConfig]) -> dict[str, SinkConfig]:
        for name in sinks:
            if not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"{name[:80]!r} is no name of a sink: lower-case letters, digits, '_' and '-'"
                )
        return sinks
