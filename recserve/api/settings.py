"""What the API must know of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recserve.config import DEFAULT_SCENARIO, Config, GorseConfig, HookConfig, nearest
from recserve.data.arrays import FloatArray
from recserve.data.entities import DEFAULT_EVENT_TYPES, EventType
from recserve.errors import InvalidRequestError

SIMILAR_SCENARIO = "similar"


@dataclass(frozen=True)
class ApiSettings:
    """Settings of the HTTP API.

    Attributes:
        event_types: Event types by name that events and sessions may use.
        scenarios: Names of the configured scenarios.
        default_scenario: Serves requests that name none.
        max_body_bytes: Longest accepted request body.
        max_bulk_bytes: Longest accepted body of a route that writes many things at once.
        cors_origins: Origins whose pages may call the API from a browser.
        returns_request_id: Whether answers get the header ``X-Request-ID`` here; not behind a server that
            adds it itself.
        gorse: The routes that speak Gorse's API.
        filters: Names of the filters of each scenario.
        spaces: Numbers of a vector of each named space of item vectors.
        hooks: Hooks by name; their secrets are read from the environment by whoever serves them.
    """

    event_types: Mapping[str, EventType] = field(default_factory=lambda: dict(DEFAULT_EVENT_TYPES))
    scenarios: tuple[str, ...] = (DEFAULT_SCENARIO,)
    default_scenario: str = DEFAULT_SCENARIO
    max_body_bytes: int = 2_000_000
    max_bulk_bytes: int = 20_000_000
    cors_origins: tuple[str, ...] = ()
    returns_request_id: bool = True
    gorse: GorseConfig = field(default_factory=GorseConfig)
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    spaces: Mapping[str, int] = field(default_factory=dict)
    hooks: Mapping[str, HookConfig] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> ApiSettings:
        """The settings that a configuration implies."""
        return cls(
            event_types=config.event_types,
            scenarios=tuple(config.scenarios),
            default_scenario=config.default_scenario,
            max_body_bytes=config.server.max_body_bytes,
            max_bulk_bytes=config.server.max_bulk_bytes,
            cors_origins=config.server.cors_origins,
            gorse=config.server.gorse,
            spaces=config.space_dimensions,
            hooks=config.streams.hooks,
            filters={
                name: tuple(used.use for used in scenario.filters)
                for name, scenario in config.scenarios.items()
            },
        )

    @property
    def similar_scenario(self) -> str | None:
        """The scenario of ``/v1/similar``: one called ``similar`` if there is one, else the default."""
        return SIMILAR_SCENARIO if SIMILAR_SCENARIO in self.scenarios else None

    def check_event(self, event: str, value: float | None, place: str = "") -> None:
        """Check an event's type and value.

        Args:
            event: Name of the event type.
            value: Its value, None if it has none.
            place: Where the event stands in the request, such as ``events[3].``.

        Raises:
            InvalidRequestError: The type is not configured, or the value is off its scale.
        """
        kind = self.event_types.get(event)
        if kind is None:
            raise InvalidRequestError(
                f"{place}event: unknown event type {event[:80]!r}{nearest(event[:80], self.event_types)}",
                field=f"{place}event",
            )
        if value is None or kind.value_range is None:
            return
        low, high = kind.value_range
        if not low <= value <= high:
            raise InvalidRequestError(
                f"{place}value: {value:g} is off the scale of {event!r}, which runs from {low:g} to {high:g}",
                field=f"{place}value",
            )

    def named_vectors(
        self, given: Mapping[str, Sequence[float] | None], place: str = ""
    ) -> dict[str, FloatArray | None]:
        """Vectors of an item as they are written, checked.

        Args:
            given: Numbers by the name of their space; None takes a vector away.
            place: Where the item stands in the request, such as ``items[3].``.

        Raises:
            InvalidRequestError: A space that is not declared, or a vector that is not one of it.
        """
        found: dict[str, FloatArray | None] = {}
        for name, numbers in given.items():
            field = f"{place}vectors.{name[:80]}"
            dimensions = self.spaces.get(name)
            if dimensions is None:
                known = (
                    nearest(name[:80], self.spaces) if self.spaces else "; the configuration declares none"
                )
                raise InvalidRequestError(f"{field}: unknown vector space{known}", field=field)
            if numbers is None:
                found[name] = None
                continue
            if len(numbers) != dimensions:
                raise InvalidRequestError(
                    f"{field}: {len(numbers)} numbers instead of {dimensions}", field=field
                )
            with np.errstate(over="ignore"):
                vector = np.asarray(numbers, dtype=np.float32)
            if not np.isfinite(vector).all():
                raise InvalidRequestError(f"{field}: a number is not finite in 32 bits", field=field)
            if not vector.any():
                raise InvalidRequestError(f"{field}: all numbers are 0, which is no direction", field=field)
            found[name] = vector
        return found
