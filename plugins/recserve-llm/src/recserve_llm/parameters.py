"""Parameters of the plugin's components, validated by pydantic."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from recserve import NoParams, is_loopback

MOST_LABELS = 20
"""Most candidates of a prompt: servers tell log-probabilities of at most 20 tokens."""


class ConnectionParams(NoParams):
    """Where the language model is, and how much may be asked of it. Nothing is sent anywhere else."""

    base_url: str = Field(
        description="Address of an OpenAI-compatible server up to its version, such as "
        "http://127.0.0.1:8081/v1. There is no default: nothing is sent unless this says where."
    )
    model: str = Field(min_length=1, description="Name of the model, as the server knows it.")
    api_key_env: str | None = Field(
        None, min_length=1, description="Environment variable that holds the API key; null for none."
    )
    ca_file: str | None = Field(
        None, description="Certificates (PEM) that the server's is checked against; default: the system's."
    )
    plain_http: bool = Field(
        False, description="Allow http:// to another machine, where texts and key can be read on the way."
    )
    timeout_ms: int = Field(
        30_000, ge=10, le=600_000, description="A call is broken off after this long, waiting included."
    )
    concurrency: int = Field(8, ge=1, le=256, description="Calls of a process under way at a time.")
    max_queue: int = Field(64, ge=0, le=10_000, description="Further calls that may wait for their turn.")
    max_response_bytes: int = Field(
        200_000, ge=1_000, le=10_000_000, description="A longer answer is broken off and refused."
    )
    requests_a_minute: float | None = Field(
        600.0,
        gt=0,
        description="Calls a minute of a process; beyond, nothing is asked. null for no limit.",
    )

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write an address such as https://llm.example/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError(
                "write the address without user, query and fragment; a key goes by `api_key_env`"
            )
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_encrypted(self) -> ConnectionParams:
        parts = urlsplit(self.base_url)
        if parts.scheme == "http" and not self.plain_http and not is_loopback(parts.hostname or ""):
            raise ValueError(
                "base_url is plain http to another machine; use https, or say `plain_http: true` if the "
                "network in between is trusted"
            )
        return self

    def connection(self) -> ConnectionParams:
        """The connection alone; components with an equal one share a client."""
        return ConnectionParams.model_validate(
            {name: getattr(self, name) for name in ConnectionParams.model_fields}
        )


class LlmRerankParams(ConnectionParams):
    """Parameters of the reranker ``llm_rerank``."""

    k: int = Field(
        10, ge=2, le=MOST_LABELS, description="Best places of the ranked list that the model may reorder."
    )
    answer: Literal["schema", "object", "text", "logprobs"] = Field(
        "schema",
        description="How the model answers: `schema` by a JSON schema that the server enforces, `object` "
        "JSON by request, `text` whatever it writes, `logprobs` by the probabilities of the labels as its "
        "first token, so that one token is enough (Reddy et al. 2024, arXiv:2406.15657).",
    )
    passes: int = Field(
        1,
        ge=1,
        le=4,
        description="Prompts a page, each with the candidates in another order; ranks are averaged, so that "
        "a place in the prompt counts for less.",
    )
    history: int = Field(10, ge=1, le=50, description="Newest liked items that the model is told.")
    fields: tuple[str, ...] = Field(
        (), description="Attributes of items that the model reads; empty takes every text attribute."
    )
    characters: int = Field(160, ge=20, le=2_000, description="An item's text is cut to this length.")
    deadline_ms: int = Field(
        800,
        ge=10,
        le=600_000,
        description="Pages without an answer after this long keep their order; the answer is remembered when "
        "it comes. Must be shorter than `server.reranking_deadline_ms`.",
    )
    cache_size: int = Field(10_000, ge=1, description="Answers remembered, by the content of their prompts.")
    cache_seconds: float = Field(86_400.0, gt=0, description="How long an answer is remembered.")


class LlmExplainerParams(ConnectionParams):
    """Parameters of the explainer ``llm``."""

    base: str = Field(
        "template", description="Explainer whose sentence is given where the model's is missing or refused."
    )
    base_params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    nouns: tuple[str, ...] = Field(
        ("item",),
        min_length=1,
        description="What items are called, such as [film, movie]; prompts say the first.",
    )
    fields: tuple[str, ...] = Field(
        (), description="Attributes that are facts; empty takes texts, lists of texts and `year`."
    )
    wait_ms: int = Field(
        0,
        ge=0,
        le=60_000,
        description="How long a page waits for sentences. 0: the base sentence now, the model's next time. "
        "Must be shorter than `server.explaining_deadline_ms`.",
    )
    characters: int = Field(200, ge=40, le=1_000, description="A longer sentence is refused.")
    cache_size: int = Field(
        50_000, ge=1, description="Sentences remembered, by the content of their prompts."
    )
    cache_seconds: float = Field(604_800.0, gt=0, description="How long a sentence is remembered.")


class LlmItemTextParams(ConnectionParams):
    """Parameters of the item text ``llm``."""

    base: str = Field("fields", description="Item text that tags and summary are added to, and made from.")
    base_params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")
    answer: Literal["schema", "object"] = Field(
        "schema",
        description="`schema`: JSON by a schema that the server enforces; `object`: JSON by request.",
    )
    tags: int = Field(5, ge=0, le=20, description="Most tags of an item.")
    summary_characters: int = Field(200, ge=0, le=1_000, description="Longest summary; 0 asks for none.")
    cache: str | None = Field(
        None, description="File of what is known, by content; default: under the user's cache folder."
    )
    max_items: int = Field(10_000, ge=0, description="Most items that a training asks about.")
    max_seconds: float = Field(3600.0, gt=0, description="Longest time that a training spends on asking.")
