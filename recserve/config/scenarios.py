"""Scenarios: which components serve them, and how they treat seen items, new items and new users."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from recserve.config.strict import Strict

LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"
"""A language tag, such as ``zh`` or ``zh-CN``."""


class ComponentConfig(Strict):
    """A component by name, with its parameters."""

    use: str = Field(description="Registered name of the component.")
    params: dict[str, Any] = Field(default_factory=dict, description="Its parameters.")


class RetrieverConfig(ComponentConfig):
    """A retriever of a scenario."""

    candidates: int = Field(200, ge=1, le=10_000, description="Items asked of this retriever.")
    weight: float = Field(1.0, gt=0, description="Weight in reciprocal rank fusion.")


class EncoderConfig(Strict):
    """The text encoder; every field but ``use`` and ``params`` is a parameter of the ``bert`` one."""

    use: str = "bert"
    model: str = Field(
        "auto",
        description="auto (a bundled one, by the language of the items' texts), bundled:minilm, "
        "bundled:e5-multilingual, a local directory, or a hub id.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    pooling: Literal["mean", "cls"] | None = Field(None, description="Default: the model's own.")
    max_length: int | None = Field(None, ge=8, le=8192, description="Tokens a text is cut to.")
    prefix: str | None = Field(None, description="Put before each text, such as 'query: '.")
    params: dict[str, Any] = Field(default_factory=dict, description="Further parameters.")

    def component(self) -> ComponentConfig:
        """The same as a plain component with parameters."""
        own = self.model_dump(exclude={"use", "params"}, exclude_none=True)
        return ComponentConfig(use=self.use, params={**own, **self.params})


MAX_DIMENSIONS = 4096
"""Longest vector of an item, in numbers."""

SPACE_NAME = r"^[a-z][a-z0-9_]{0,31}$"
"""Name of a space of item vectors: it names columns of files and a file of bundles."""


class VectorSpaceConfig(Strict):
    """A named space of item vectors beside those of texts, such as one of pictures."""

    dimensions: int = Field(ge=2, le=MAX_DIMENSIONS, description="Numbers of a vector.")
    encoder: ComponentConfig | None = Field(
        None,
        description="Item encoder that computes the vectors of items that none is given of, such as one of "
        "pictures; null for given vectors alone.",
    )


class ExploreConfig(Strict):
    """How much of a page is spent on finding out whether new items are any good."""

    share: float = Field(0.1, gt=0, le=0.5, description="Share of a page's places.")
    clicks: float = Field(
        1.0, gt=0, description="Prior of an item's click rate: imagined clicks before anything is known."
    )
    views: float = Field(20.0, gt=0, description="Prior of an item's click rate: imagined views.")
    first_place: int = Field(3, ge=1, description="The best places of a page, up to this one, are spared.")


COUNTED_IMPRESSIONS = 20
"""Newest impressions of an item that are kept for a user."""


class FrequencyCapConfig(Strict):
    """How often a user may be shown the same item."""

    impressions: int = Field(
        ge=1,
        le=COUNTED_IMPRESSIONS,
        description="An item that was shown this often within the window is not returned.",
    )
    window_hours: float = Field(24.0, gt=0, le=8760, description="The window, up to now.")


class PipelineConfig(Strict):
    """One scenario: which components serve it."""

    retrievers: tuple[RetrieverConfig, ...] = Field(min_length=1)
    budget: int = Field(300, ge=1, le=10_000, description="Candidates kept for the ranker.")
    ranker: ComponentConfig | None = None
    rerankers: tuple[ComponentConfig, ...] = ()
    filters: tuple[ComponentConfig, ...] = ()
    explainer: ComponentConfig = ComponentConfig(use="template")
    language: str = Field(
        "en",
        pattern=LANGUAGE,
        description="Language of explanations, such as en or zh; a request may ask for another one.",
    )
    fallback: ComponentConfig = Field(
        ComponentConfig(use="popular"),
        description="Retriever used when all others fail or are empty.",
    )
    seen: Literal["exclude", "decay", "allow"] = Field(
        "exclude",
        description="Items of the user's history: never again, lower the more recent they are, or as good "
        "as any.",
    )
    seen_half_life_days: float = Field(
        30.0, gt=0, description="With `seen: decay`: after this long an item has half its penalty."
    )
    frequency_cap: FrequencyCapConfig | None = Field(
        None, description="How often a user may be shown the same item; null for as often as it is good."
    )
    explore: ExploreConfig | None = Field(None, description="Give places to items that are new.")

    @field_validator("retrievers", "filters")
    @classmethod
    def _distinct(
        cls, components: tuple[ComponentConfig, ...], info: ValidationInfo
    ) -> tuple[ComponentConfig, ...]:
        names = [component.use for component in components]
        for name in names:
            # A request gives arguments by the filter's name.
            if names.count(name) > 1:
                raise ValueError(f"{str(info.field_name).removesuffix('s')} {name!r} is listed twice")
        return components


DEFAULT_SCENARIO = "home"
SEARCH_SCENARIO = "search"


def default_scenarios() -> dict[str, PipelineConfig]:
    """The scenarios of a configuration that names none."""
    return {
        DEFAULT_SCENARIO: PipelineConfig(
            retrievers=(
                RetrieverConfig(use="mf"),
                RetrieverConfig(use="item_knn"),
                RetrieverConfig(use="content"),
                RetrieverConfig(use="popular", candidates=100),
            ),
            ranker=ComponentConfig(use="bert_lstm"),
        ),
        # Words and meaning; what somebody looks for may well be something seen before.
        SEARCH_SCENARIO: PipelineConfig(
            retrievers=(RetrieverConfig(use="lexical"), RetrieverConfig(use="content")), seen="allow"
        ),
    }


class ColdStartConfig(Strict):
    """What to go by while a user has done little."""

    attributes: tuple[str, ...] = Field(
        ("interests",), description="User attributes whose text describes what the user likes."
    )
    until_events: int = Field(
        5, ge=0, description="Stated interests count until the user has this many positive events."
    )
