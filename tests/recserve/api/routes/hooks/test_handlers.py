"""Hooks over HTTP: signed, whole or not at all, each once, and counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from recserve.api import ApiSettings, create_app
from recserve.auth.keyring import Keyring
from recserve.data.entities import Event
from recserve.errors import ConfigError
from tests.recserve.api.routes.hooks.conftest import (
    SECRET,
    SIGNERS,
    Hooked,
    hexadecimal,
    hook,
    in_base64,
    line,
    order,
    standard,
)

AT = 1706702400000
TWICE = [{"who": "ada", "what": "260"}, {"who": "ada", "what": "260"}]


def answer(**counts: int) -> dict[str, int]:
    return {"accepted": 0, "stored": 0, "duplicates": 0, "refused": 0, "skipped": 0, **counts}


@pytest.mark.parametrize("scheme", SIGNERS)
def test_a_body_becomes_events_each_once_that_count_at_once(hooked: Hooked, scheme: str) -> None:
    body = order(line(1), line(2, "1196", quantity="2"), customer="ada")
    response = hooked.post(scheme, body)
    assert (response.status_code, response.json()) == (200, answer(accepted=2, stored=2)), response.text
    assert hooked.stored() == [
        Event("ada", "260", "purchase", AT, 1.0, "669751113"),
        Event("ada", "1196", "purchase", AT, 2.0, "669751114"),
    ]
    assert (
        hooked.served.post("/v1/recommend", {"user_id": "ada", "n": 3}).json()["items"][0]["item_id"] == "480"
    )
    # Nothing in these is an id.
    view = f"{scheme}-view"
    assert hooked.post(view, TWICE).json() == answer(accepted=2, stored=2)
    for _ in range(2):
        assert hooked.post(view, TWICE).json() == answer(accepted=2, duplicates=2)
    assert len({event.event_id for event in hooked.stored()}) == 4
    assert hooked.counted(view) == {"stored": 2, "duplicate": 4}


def test_a_wrong_signature_is_refused(hooked: Hooked) -> None:
    wrong = [
        lambda body: {},
        lambda body: {"X-Hub-Signature-256": ""},
        hexadecimal("X-Hub-Signature-256"),
        hexadecimal("X-Hub-Signature-256", "sha256=", "another secret of the shop"),
        in_base64("X-Hub-Signature-256"),
        lambda body: {"X-Hub-Signature-256": "sha256=" + "é" * 32},
        lambda body: {"X-Hub-Signature-256": "sha256="},
        lambda body: SIGNERS["github"](body + b" "),
        lambda body: {"Authorization": f"Bearer {SECRET}"},
    ]
    for number, sign in enumerate(wrong):
        response = hooked.post("github", order(line()), sign)
        assert response.status_code == 401, number
        assert response.json()["error"]["code"] == "invalid_signature"
        assert response.headers["www-authenticate"] == "Signature"
        assert SECRET not in response.text
    assert hooked.stored() == []
    # Whoever cannot sign learns nothing of what a body must be.
    assert hooked.post("github", b"{not json", wrong[3]).status_code == 401


def test_what_was_signed_long_ago_is_refused(hooked: Hooked) -> None:
    for off in (-90, 90):
        response = hooked.post("minute", order(line()), standard(off=off))
        assert response.status_code == 401
        assert "webhook-timestamp" in response.json()["error"]["message"]
    for time in ("9" * 5000, "1e9", "-5", "٣".encode().decode("latin-1")):
        signed = {**standard()(b""), "webhook-timestamp": time}
        response = hooked.post("minute", order(line()), lambda body, signed=signed: signed)
        assert response.status_code == 401
    assert hooked.post("minute", order(line()), standard(off=-50)).status_code == 200


def test_equal_bodies_of_two_deliveries_are_two_where_the_delivery_is_signed(hooked: Hooked) -> None:
    for name in ("msg_1", "msg_2", "msg_1"):
        hooked.post("standard-view", TWICE[:1], standard(name))
    assert len(hooked.stored()) == 2


def test_an_id_of_the_body_gets_the_place_of_the_entry(hooked: Hooked) -> None:
    hooked.post("numbered", order(line(1), line(2)))
    assert [event.event_id for event in hooked.stored()] == ["450789469:0", "450789469:1"]


def test_a_body_that_does_not_fit_stores_nothing_and_names_the_place(hooked: Hooked) -> None:
    for body, field, message in (
        (order(line(1), line(2, None)), "line_items[1].product_id", "the item_id of an event, is missing"),
        (order(line(1), {"id": 7}), "line_items[1].product_id", "the item_id of an event, is missing"),
        (order(line(), customer=None), "customer.id", "the user_id of an event, is missing"),
        (order(line(), customer=""), "customer.id", "the user_id of an event, is missing"),
        (order(line(), customer=0), "customer.id", "stands for nobody"),
        (order(line(), customer=True), "customer.id", "must be a text or a whole number"),
        (order(line(), customer=1.5), "customer.id", "must be a text or a whole number"),
        (order(line(), customer={"a": 1}), "customer.id", "must be a text or a whole number"),
        (order(line(), customer="a\0b"), "customer.id", "user_id must not hold a NUL character"),
        (order(line(quantity="two")), "line_items[0].quantity", "value must be a valid number"),
        (order(line(quantity="1e999")), "line_items[0].quantity", "value must be a finite number"),
        (order(line(quantity=10**400)), "line_items[0].quantity", "value "),
        (order(line(quantity=True)), "line_items[0].quantity", "value must be a valid number"),
        ({**order(line()), "created_at": "soon"}, "created_at", "timestamp 'soon' is not a time"),
        ({**order(line()), "created_at": "2999-01-01"}, "created_at", "more than a day in the future"),
        ({"customer": {"id": 7}}, "line_items", "line_items is missing"),
        ({**order(), "line_items": 3}, "line_items", "must be a JSON object or a list of them"),
        ({**order(), "line_items": [{}] * 10_001}, "line_items", "has 10,001 entries"),
        (3, "line_items", "line_items is missing"),
        (None, "line_items", "line_items is missing"),
    ):
        response = hooked.post("guests", body)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["field"]) == (422, "invalid_request", field), error
        assert error["message"].startswith(field)
        assert message in error["message"]
        assert "\n" not in error["message"]
    assert hooked.stored() == []


def test_what_is_not_wanted_is_skipped_and_counted(hooked: Hooked) -> None:
    body = [
        {"event": "Product Viewed", "userId": "ada", "properties": {"product_id": "260"}},
        {"event": "Product Viewed", "userId": "ada", "properties": {"product_id": "", "sku": "1196"}},
        {"event": "Page Viewed", "userId": "ada", "properties": {}},
        {"event": "Product Viewed", "userId": None, "properties": {"product_id": "260"}},
        {"event": "Product Viewed", "userId": 0, "properties": {"product_id": "260"}},
        {"event": "Order Completed", "userId": "ada"},
        {"userId": "ada"},
        None,
    ]
    assert hooked.post("analytics", body).json() == answer(accepted=2, stored=2, skipped=6)
    assert [event.item_id for event in hooked.stored()] == ["260", "1196"]
    assert hooked.counted("analytics") == {"stored": 2, "skipped": 6}


def test_a_body_of_another_kind_need_not_have_the_list(hooked: Hooked) -> None:
    assert hooked.post("ids", {"type": "ping", "user": "ada"}).json() == answer(skipped=1)
    assert hooked.post("ids", {"type": "bought", "user": "ada"}).status_code == 422
    assert hooked.post("ids", {"type": "bought", "user": "ada", "data": [{"items": []}]}).json() == answer()
    body = {"type": "bought", "user": "ada", "data": [{"items": ["260", 1196]}]}
    assert hooked.post("ids", body).json() == answer(accepted=2, stored=2)
    stored = [(event.event, event.item_id) for event in hooked.stored()]
    assert stored == [("purchase", "260"), ("purchase", "1196")]


def test_a_type_that_is_no_event_type_is_named(hooked: Hooked) -> None:
    response = hooked.post("searches", {"u": "ada", "q": "space", "type": "serch"})
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["field"] == "type"
    assert "'serch'" in error["message"]
    assert "did you mean 'search'?" in error["message"]
    taken = hooked.post("searches", {"u": "ada", "q": "space", "type": "search"})
    assert taken.json() == answer(accepted=1, stored=1)


def test_what_contradicts_the_store_is_left_out_and_told(
    hooked: Hooked, caplog: pytest.LogCaptureFixture
) -> None:
    hooked.post("shopify", order(line(1)))
    with caplog.at_level(logging.WARNING, logger="recserve.api.routes.hooks"):
        for number in (2, 3):
            response = hooked.post("shopify", order(line(1, "1196"), line(number)))
            assert response.json() == answer(accepted=1, stored=1, refused=1)
    assert [event.item_id for event in hooked.stored()] == ["260", "260", "260"]
    (record,) = caplog.records
    assert "event_id_conflict" in record.getMessage()
    assert hooked.counted("shopify") == {"stored": 3, "refused": 2}
    hooked.served.call("DELETE", "/v1/users/207119551")
    assert hooked.post("shopify", order(line(9))).json() == answer(refused=1)


def test_the_log_names_the_place_and_not_the_person(hooked: Hooked, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="recserve.api.routes.hooks"):
        for _ in range(2):
            hooked.post("hmac", order(line(quantity="ada@example.com")))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["hook hmac refused a body: invalid_request: line_items[0].quantity"]


def test_bodies_are_bounded_and_declared(hooked: Hooked) -> None:
    assert hooked.post("short", order(*map(line, range(30)))).status_code == 413
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert hooked.post("short", order(line()), **form).status_code == 415
    assert hooked.post("short", b"{").status_code == 400
    assert hooked.served.post("/v1/hooks/other", {}).status_code == 404
    assert hooked.served.get("/v1/hooks/short").status_code == 405
    assert hooked.stored() == []


def test_a_long_body_is_taken(hooked: Hooked) -> None:
    body = order(*(line(number, f"i{number}") for number in range(2000)))
    assert hooked.post("github", body).json() == answer(accepted=2000, stored=2000)


def test_the_question_of_woocommerce_whether_anybody_is_there(hooked: Hooked) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    asked = hooked.post("woocommerce", b"webhook_id=3", lambda body: {}, **form)
    assert (asked.status_code, asked.json()) == (200, answer())
    assert hooked.post("woocommerce", order(line()), lambda body: {}).status_code == 401


def test_a_signature_takes_the_place_of_a_key(served: Any) -> None:
    with_keys = Keyring(served.store)
    with_keys.start()
    try:
        settings = ApiSettings(hooks={"github": hook()})
        served.app = create_app(served.app.state.backend, settings, with_keys)
        made = Hooked(served)
        assert made.post("github", order(line())).json() == answer(accepted=1, stored=1)
        assert made.post("github", order(line(2)), lambda body: {}).status_code == 401
    finally:
        with_keys.close()


def test_a_secret_that_is_missing_or_weak_is_found_before_anything_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = hook(secret="${SHOP_SECRET}")
    settings = ApiSettings(hooks={"shop": config})
    with pytest.raises(ConfigError, match=r"streams\.hooks\.shop\.secret: .* SHOP_SECRET is not set"):
        create_app(settings=settings)
    for weak in ("", "short"):
        monkeypatch.setenv("SHOP_SECRET", weak)
        with pytest.raises(ConfigError, match=r"streams\.hooks\.shop\.secret: .* 16 bytes or more"):
            create_app(settings=settings)
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    create_app(settings=settings)
    assert SECRET not in repr(hook())
