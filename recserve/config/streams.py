"""Streams: topics that are read into the store, and where exposures and deletions are passed on to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_serializer, model_validator

from recserve.config.strict import Strict

TopicKind = Literal["events", "items", "users", "deletions"]
SinkKind = Literal["exposures", "events", "deletions"]

NamedT = TypeVar("NamedT")

_TOPIC = r"^[a-zA-Z0-9._-]{1,249}$"
_NAME = r"^[a-z][a-z0-9_-]{0,63}$"
_PATH = r"@|\$|(\$\.)?[^\s.$@][^.]*(\.[^.]+)*"
_SENT: tuple[SinkKind, ...] = ("exposures", "deletions")
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
    send: tuple[SinkKind, ...] | None = Field(
        None,
        min_length=1,
        description="What is posted to the webhook; default: `exposures` and `deletions`.",
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
        if self.topics and self.send is not None:
            raise ValueError("send goes with a webhook; what a Kafka sink sends is said by its topics")
        return self

    @property
    def kinds(self) -> frozenset[SinkKind]:
        """What is passed on."""
        return frozenset(self.topics or self.send or _SENT)


class SignatureConfig(Strict):
    """How a sender signs: the HMAC-SHA256 of the body, in a header."""

    header: str = Field(
        pattern=r"^[A-Za-z0-9-]{1,80}$", description="Name of the header, such as `X-Signature`."
    )
    encoding: Literal["hex", "base64"] = Field("hex", description="How the signature is written.")
    prefix: str = Field("", max_length=80, description="What stands before it, such as `sha256=`.")


def _check_path(path: str) -> str:
    if not re.fullmatch(_PATH, path):
        raise ValueError(
            f"{path[:80]!r} is no path: write names with dots between them, such as customer.id, and $. "
            "before one that begins at the body"
        )
    return path


Path = Annotated[str, AfterValidator(_check_path)]


class FieldConfig(Strict):
    """Where a field of an event is: a path, a list of paths, or a constant.

    A path such as `customer.id` begins at the entry of `each`, `$.customer.id` at the body; a number counts
    in a list; `@` is the entry itself. Of several paths the first counts that leads to something.
    """

    paths: tuple[Path, ...] = Field((), description="Paths; a path or a list of paths stands for this.")
    constant: str | float | None = Field(None, description="What it is for all events of the hook.")

    @model_validator(mode="before")
    @classmethod
    def _short(cls, written: object) -> object:
        if isinstance(written, str):
            return {"paths": (written,)}
        return {"paths": written} if isinstance(written, list | tuple) else written

    @model_validator(mode="after")
    def _one_of_both(self) -> FieldConfig:
        if bool(self.paths) == (self.constant is not None):
            raise ValueError("write a path, a list of paths, or {constant: ...}")
        return self

    @model_serializer
    def _as_written(self) -> str | list[str] | dict[str, str | float]:
        if self.constant is not None:
            return {"constant": self.constant}
        return self.paths[0] if len(self.paths) == 1 else [*self.paths]


class HookFieldsConfig(Strict):
    """Where the fields of an event are."""

    user_id: FieldConfig = Field(description="Who.")
    item_id: FieldConfig | None = Field(None, description="With what; optional where there is `text`.")
    event: FieldConfig = Field(description="An event type, or a name out of `names`.")
    value: FieldConfig | None = Field(
        None, description="Rating, count or amount; digits in quotes count as a number."
    )
    text: FieldConfig | None = Field(None, description="What the user wrote.")
    context: FieldConfig | None = Field(
        None, description="What was the case, such as device and place: a flat JSON object."
    )
    timestamp: FieldConfig | None = Field(
        None, description="ISO 8601, epoch seconds or milliseconds; default: when it came."
    )
    event_id: FieldConfig | None = Field(
        None,
        description="Idempotency key; default: made of the signed `webhook-id`, else of the body, and of the "
        "entry's place. One that begins at the body gets the entry's place added.",
    )
    recommendation_id: FieldConfig | None = Field(None, description="The recommendation that led to it.")

    @model_validator(mode="after")
    def _says_something(self) -> HookFieldsConfig:
        if self.item_id is None and self.text is None:
            raise ValueError("an event needs an item_id, a text, or both")
        return self


class HookConfig(Strict):
    """Bodies that another program posts to `/v1/hooks/NAME`, and what events they are."""

    secret: str = Field(
        min_length=1,
        repr=False,
        description="Key of the signatures, at least 24 characters for `standard` and 16 for others."
        + _SECRET,
    )
    scheme: Literal["standard", "shopify", "github", "woocommerce", "hmac"] = Field(
        "standard",
        description="How bodies are signed: by Standard Webhooks, as one of these programs does, or as "
        "`signature` says.",
    )
    signature: SignatureConfig | None = Field(None, description="For `hmac`.")
    tolerance_seconds: int | None = Field(
        None,
        ge=1,
        le=86_400,
        description="How far the time of a request may be off, of `standard`; default: 300.",
    )
    max_bytes: int = Field(1_000_000, ge=1_000, description="Longest accepted body.")
    each: Path | None = Field(
        None,
        description="Path of a list, each entry of which is an event; default: the body is one, or a list of "
        "them.",
    )
    fields: HookFieldsConfig
    names: dict[str, str] | None = Field(
        None,
        description="What the sender calls it -> event type. Entries with other names are skipped and "
        "counted. Default: names are event types.",
    )
    nobody: tuple[str, ...] = Field((), description="User ids that stand for nobody, such as `0` of guests.")
    incomplete: Literal["refuse", "skip"] = Field(
        "refuse",
        description="What becomes of entries without a user, an event, or both item and text: the body is "
        "refused, or they are skipped and counted.",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> HookConfig:
        if (self.scheme == "hmac") == (self.signature is None):
            raise ValueError("signature goes with scheme hmac, and scheme hmac needs it")
        if self.scheme != "standard" and self.tolerance_seconds is not None:
            raise ValueError(f"{self.scheme} does not sign a time, so tolerance_seconds says nothing")
        return self


class StreamsConfig(Strict):
    """Streams in and out: hooks of the server, the others run by `recserve stream`."""

    hooks: dict[str, HookConfig] = Field(
        default_factory=dict, description="Name -> what is posted to `/v1/hooks/NAME`."
    )
    kafka: KafkaConfig = KafkaConfig()
    source: SourceConfig | None = Field(None, description="What `recserve stream source` reads.")
    sinks: dict[str, SinkConfig] = Field(
        default_factory=dict, description="Name -> what `recserve stream sink NAME` passes on."
    )

    @field_validator("sinks", "hooks")
    @classmethod
    def _check_names(cls, named: dict[str, NamedT]) -> dict[str, NamedT]:
        for name in named:
            if not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"{name[:80]!r} is no name of a sink or hook: lower-case letters, digits, '_' and '-'"
                )
        return named

    def event_types_named(self) -> Iterator[tuple[str, str]]:
        """Where hooks name event types, and which."""
        for name, hook in self.hooks.items():
            place, event = f"streams.hooks.{name}", hook.fields.event
            for kind in (hook.names or {}).values():
                yield f"{place}.names", kind
            if event.constant is not None and hook.names is None:
                yield f"{place}.fields.event", str(event.constant)
