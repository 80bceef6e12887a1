"""The whole API fuzzed with keys that may do little: every refusal is one that the document announces."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from recserve.api import create_app
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.store import ApiKey, Pulse


class Keys:
    """Keys that are there before any store is."""

    def __init__(self, *keys: ApiKey) -> None:
        self._keys = list(keys)

    def pulse(self) -> Pulse:
        return Pulse(keys=1)

    def keys(self) -> list[ApiKey]:
        return self._keys


reader, stored_reader = create_key("may read", ["read"], 1)
slow, stored_slow = create_key("is always too fast", ["read"], 1, rate_limit=0.001)
keyring = Keyring(Keys(stored_reader, stored_slow), max_age=3600)  # it is not followed
keyring.refresh()
fuzzed_app = create_app(keyring=keyring)
schema = schemathesis.openapi.from_asgi("/openapi.json", fuzzed_app)
presented = itertools.cycle(
    [{}, {"Authorization": f"Bearer {reader}"}, {"X-API-Key": slow}, {"Authorization": "Bearer wrong"}]
)
seen: set[int] = set()


@pytest.fixture
def with_backend(shared: Any) -> None:
    fuzzed_app.state.backend = shared.app.state.backend


@schema.parametrize()
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_refusals_are_documented(case: Any, with_backend: None) -> None:
    # What schemathesis makes up for the two headers is replaced.
    for name in ("Authorization", "X-API-Key"):
        case.headers.pop(name, None)
    answer = case.call_and_validate(
        headers=next(presented),
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
        ],
    )
    seen.add(answer.status_code)


def test_every_kind_of_refusal_was_met() -> None:
    if not seen:
        pytest.skip("needs the tests above to run first")
    assert seen >= {200, 401, 403, 429}
