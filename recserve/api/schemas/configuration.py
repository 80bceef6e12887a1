"""Bodies and answers of the configuration."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from recserve.api.backends.desks.configuration import MOST_CHARACTERS, Checked, Shown
from recserve.api.schemas.recommend_request import Body
from recserve.api.schemas.responses import Answer, filled


class ConfigurationTextBody(Body):
    """A changed configuration."""

    text: str = Field(
        max_length=MOST_CHARACTERS,
        description="YAML, as a configuration file has it. What `GET /v1/config` masked stands for itself.",
        examples=["train:\n  seed: 1\n"],
    )


class ConfigurationAnswer(Answer):
    """The configuration in service, without secrets."""

    config: dict[str, Any] = Field(
        description="What was written, and always the scenarios; what is left out is as by default.",
        examples=[{"train": {"seed": 1}}],
    )
    text: str = Field(description="The same as YAML.", examples=["train:\n  seed: 1\n"])
    masked: bool = Field(description="Something is shown as `***`.", examples=[False])


class MistakeAnswer(Answer):
    """What is wrong with a configuration."""

    field: str | None = Field(description="The key at fault.", examples=["train.sed"])
    message: str = Field(examples=["unknown key 'train.sed'; did you mean 'seed'? (known: ..., seed)"])


class ConfigurationChangeAnswer(Answer):
    """A value that differs; null where there is none on that side."""

    key: str = Field(examples=["train.seed"])
    before: Any = Field(examples=[0])
    after: Any = Field(examples=[1])


class ConfigurationCheckAnswer(Answer):
    """What is to be said of a changed configuration. Nothing was applied."""

    valid: bool = Field(examples=[True])
    mistakes: list[MistakeAnswer]
    changes: list[ConfigurationChangeAnswer]
    diff: str = Field(
        description="The same as a unified diff of YAML.", examples=["--- in service\n+++ changed\n"]
    )
    needs: Literal["nothing", "restart", "training"] | None = Field(
        description="What a server needs to follow it; null where it is not valid.", examples=["training"]
    )
    masked: bool = Field(
        description="It holds `***`, to be replaced by the secrets before it is used.", examples=[False]
    )


def configuration_answer(shown: Shown) -> dict[str, Any]:
    """See :class:`ConfigurationAnswer`."""
    return {"config": shown.plain, "text": shown.text, "masked": shown.masked}


def check_answer(checked: Checked) -> dict[str, Any]:
    """See :class:`ConfigurationCheckAnswer`."""
    return {
        "valid": not checked.mistakes,
        "mistakes": [mistake._asdict() for mistake in checked.mistakes],
        "changes": [filled(ConfigurationChangeAnswer, change) for change in checked.changes],
        "diff": checked.diff,
        "needs": checked.needs,
        "masked": checked.masked,
    }
