"""Chat completion: what is asked of a server, and what it answered, checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Cause = Literal["late", "failed", "down", "overloaded", "over_budget"]


class LlmError(Exception):
    """A call that brought no usable answer.

    Args:
        message: One line for whoever operates the server.
        cause: Why, in one word that metrics count.
    """

    def __init__(self, message: str, cause: Cause = "failed") -> None:
        super().__init__(message)
        self.cause: Cause = cause


@dataclass(frozen=True)
class ChatRequest:
    """A prompt and how it is to be answered.

    Attributes:
        system: Instructions; they come from this program alone.
        user: The task and its quoted data.
        max_tokens: Longest answer.
        schema: JSON schema of the answer that the server is to enforce; None for none.
        json_object: Ask for a JSON object without a schema.
        top_logprobs: Most probable first tokens to tell, 0 for none.
    """

    system: str
    user: str
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    top_logprobs: int = 0

    def payload(self, model: str) -> dict[str, Any]:
        """The body of the request. Equal prompts get equal answers as far as the server can help it."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": self.system},
                {"role": "user", "content": self.user},
            ],
            "max_tokens": self.max_tokens,
            "temperature": 0.0,
            "seed": 0,
            "stream": False,
        }
        if self.schema is not None:
            named = {"name": "answer", "strict": True, "schema": self.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        elif self.json_object:
            body["response_format"] = {"type": "json_object"}
        if self.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        return body

    def key(self, model: str) -> str:
        """Digest of everything that the answer depends on."""
        return hashlib.sha256(json.dumps(self.payload(model), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Completion:
    """A checked answer.

    Attributes:
        text: What the model wrote.
        cut: Whether it was cut at the longest answer.
        first_tokens: Most probable first tokens with their log-probabilities, where asked for.
    """

    text: str
    cut: bool = False
    first_tokens: Sequence[tuple[str, float]] = ()


def read_completion(body: bytes) -> Completion:
    """Read the body of an answer.

    Raises:
        LlmError: It is no chat completion.
    """
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"]["content"]
        cut = choice.get("finish_reason") == "length"
        told = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
        tokens = [(str(one["token"]), float(one["logprob"])) for one in told[:100]]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise LlmError("the language model's server answered something that is no chat completion") from None
    if not isinstance(text, str):
        raise LlmError("the language model's server answered without a text")
    return Completion(text, cut, [(token, value) for token, value in tokens if not math.isnan(value)])
