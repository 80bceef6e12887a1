"""An application with hooks, and senders that sign as real ones do, without the code under test."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from recserve.api import ApiSettings, create_app
from recserve.config import HookConfig
from tests.recserve.api.conftest import build

SECRET = "it's a long secret of a shop"

Signer = Callable[[bytes], dict[str, str]]

ORDER_FIELDS = {
    "user_id": "$.customer.id",
    "item_id": "product_id",
    "event": {"constant": "purchase"},
    "value": "quantity",
    "timestamp": "$.created_at",
    "event_id": "id",
}


def order(*lines: Mapping[str, Any], customer: Any = 207119551) -> dict[str, Any]:
    return {
        "id": 450789469,
        "created_at": "2024-01-31T13:00:00+01:00",
        "customer": {"id": customer},
        "line_items": list(lines),
    }


def line(number: int = 1, product: Any = 260, **changes: Any) -> dict[str, Any]:
    return {"id": 669751112 + number, "product_id": product, "quantity": 1, "title": "Star Wars", **changes}


def hexadecimal(header: str, prefix: str = "", secret: str = SECRET) -> Signer:
    return lambda body: {header: prefix + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def in_base64(header: str, secret: str = SECRET) -> Signer:
    return lambda body: {
        header: base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    }


def standard(message_id: str = "msg_1", off: float = 0.0, secret: str = SECRET) -> Signer:
    def sign(body: bytes) -> dict[str, str]:
        at = str(int(time.time() + off))
        made = hmac.new(secret.encode(), f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
        }

    return sign


SIGNERS: dict[str, Signer] = {
    "standard": standard(),
    "shopify": in_base64("X-Shopify-Hmac-SHA256"),
    "github": hexadecimal("X-Hub-Signature-256", "sha256="),
    "woocommerce": in_base64("X-WC-Webhook-Signature"),
    "hmac": hexadecimal("X-Signature"),
}


def hook(**settings: Any) -> HookConfig:
    given = {"secret": SECRET, "fields": ORDER_FIELDS, "each": "line_items", "scheme": "github", **settings}
    if given["scheme"] == "hmac":
        given.setdefault("signature", {"header": "x-signature"})
    return HookConfig.model_validate(given)


VIEW = {"user_id": "who", "item_id": "what", "event": {"constant": "view"}}

HOOKS = {
    **{scheme: hook(scheme=scheme) for scheme in SIGNERS},
    **{f"{scheme}-view": hook(scheme=scheme, each=None, fields=VIEW) for scheme in SIGNERS},
    "guests": hook(nobody=["0"]),
    "minute": hook(scheme="standard", tolerance_seconds=60),
    "short": hook(max_bytes=1000),
    "numbered": hook(fields={**ORDER_FIELDS, "event_id": "$.id"}),
    "searches": hook(each=None, fields={"user_id": "u", "text": "q", "event": "type"}),
    "ids": hook(
        each="data.0.items",
        fields={"user_id": "$.user", "item_id": "@", "event": "$.type"},
        names={"bought": "purchase"},
    ),
    "analytics": hook(
        each=None,
        fields={
            "user_id": "userId",
            "item_id": ["properties.product_id", "properties.sku"],
            "event": "event",
        },
        names={"Product Viewed": "view", "Order Completed": "purchase"},
        incomplete="skip",
        nobody=["0"],
    ),
}


@dataclass
class Hooked:
    """A server with all of :data:`HOOKS`."""

    served: Any
    before: dict[tuple[str, str], int] = field(default_factory=dict)

    def post(self, name: str, body: Any, sign: Signer | None = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sign = SIGNERS[HOOKS[name].scheme] if sign is None else sign
        named = {"content-type": "application/json", **sign(content), **headers}
        sent = {name: value.encode("latin-1") for name, value in named.items()}
        answer: httpx.Response = self.served.call("POST", f"/v1/hooks/{name}", content=content, headers=sent)
        return answer

    def stored(self) -> list[Any]:
        events, _ = asyncio.run(self.served.app.state.backend.events_after(0, 10_000))
        return list(events)

    def totals(self) -> dict[tuple[str, str], int]:
        """What the metrics say of each hook and outcome, since the application was made."""
        found: dict[tuple[str, str], int] = {}
        for series in self.served.get("/v1/metrics").text.splitlines():
            if series.startswith("recserve_stream_changes_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
                key = labels["stream"].removeprefix("hook:"), labels["outcome"]
                found[key] = int(float(series.rpartition(" ")[2]))
        return found

    def counted(self, name: str) -> dict[str, int]:
        """What the metrics say of a hook since this test began."""
        since = {key: count - self.before.get(key, 0) for key, count in self.totals().items()}
        return {outcome: count for (hook, outcome), count in since.items() if hook == name and count}


@pytest.fixture(scope="session")
def hook_app() -> FastAPI:
    """One application for all tests: it takes longer to make than a store."""
    return create_app(settings=ApiSettings(hooks=HOOKS))


@pytest.fixture
def hooked(hook_app: FastAPI, tmp_path: Path) -> Iterator[Hooked]:
    """The application over a store of its own."""
    made = build(tmp_path, app=hook_app)
    with made.store:
        yield Hooked(made, Hooked(made).totals())
