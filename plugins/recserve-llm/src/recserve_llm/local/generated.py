"""What a local model generates, and why it may not; without the packages that run one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PromptError(ValueError):
    """A prompt or a schema that cannot be answered."""


class StoppedError(Exception):
    """Generation that was ended: nobody waits any longer, or it took too long."""


@dataclass(frozen=True)
class Generated:
    """What the model wrote.

    Attributes:
        text: The answer.
        cut: Whether it was cut at the longest answer.
        prompt_tokens: Tokens of the prompt.
        tokens: Tokens of the answer.
        first_tokens: Most probable first tokens with their log-probabilities.
    """

    text: str
    cut: bool
    prompt_tokens: int
    tokens: int
    first_tokens: Sequence[tuple[str, float]]
