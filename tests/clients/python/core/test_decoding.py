"""JSON to dataclasses and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from recserve_client import answers
from recserve_client.answers import About, EventType, Live
from recserve_client.core.decoding import decode, encode
from recserve_client.core.errors import UnexpectedAnswerError

from tools.clients.operations import document, operations
from tools.clients.python_types import answer_name

ABOUT: dict[str, Any] = {
    "version": "0.1.0",
    "scenarios": ["home"],
    "default_scenario": "home",
    "events": {"view": {"weight": 0.2, "value_range": None}},
    "sample_users": [],
}


def test_answers_inside_answers() -> None:
    about = decode(About, ABOUT)
    assert about.events["view"] == EventType(weight=0.2, value_range=None)


def test_fields_of_a_newer_server_are_passed_over() -> None:
    assert decode(Live, {"status": "live", "since": 3}) == Live("live")


@pytest.mark.parametrize("wrong", [{}, [], None, {**ABOUT, "events": [1]}, {**ABOUT, "events": {"view": 3}}])
def test_another_shape_is_an_error(wrong: Any) -> None:
    with pytest.raises(UnexpectedAnswerError, match="the answer is no About"):
        decode(About, wrong)


def test_every_example_of_the_document_can_be_read() -> None:
    built = document()
    for one in operations(built):
        if one.answer is not None:
            raw = built["paths"][one.path][one.method.lower()]
            example = raw["responses"]["200"]["content"]["application/json"]["example"]
            assert decode(getattr(answers, answer_name(one.answer)), example), one.name


def test_times_are_sent_with_their_zone() -> None:
    sent = encode({"at": datetime(2025, 1, 31, 12, tzinfo=UTC), "ids": {"a"}, "text": "☃"})
    assert json.loads(sent) == {"at": "2025-01-31T12:00:00+00:00", "ids": ["a"], "text": "☃"}
    with pytest.raises(ValueError, match="has no time zone"):
        encode({"at": datetime(2025, 1, 31)})


def test_what_json_cannot_hold_is_named() -> None:
    with pytest.raises(TypeError, match="JSON cannot hold a object"):
        encode({"x": object()})
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"x": float("nan")})
