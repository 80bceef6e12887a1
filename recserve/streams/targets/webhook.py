"""A URL as a target: changes are posted to it in signed batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
import orjson

from recserve.auth.signing import signature, signing_key
from recserve.config import WebhookConfig, from_environment
from recserve.streams.outgoing import Change
from recserve.streams.sink import Refused, TargetError

_REFUSED = frozenset({400, 413, 415, 422})
"""Answers that are about the content. All others are about the receiver, who may be mended."""


class WebhookTarget:
    """Poster of changes as ``{"sink": ..., "changes": [{"type", "id", "number", "data"}, ...]}``.

    A batch whose content is refused is halved, until the one change is found that is at fault.

    Args:
        sink: Name of the sink.
        config: The URL, and the secret of the signatures.

    Raises:
        ConfigError: A variable of the environment is not set, or the secret is too short.
    """

    def __init__(self, sink: str, config: WebhookConfig) -> None:
        field = f"streams.sinks.{sink}.webhook"
        self._sink = sink
        self._url = from_environment(config.url, f"{field}.url")
        # Never the path or the query, which may hold secrets.
        self._host = urlsplit(self._url).hostname or "the webhook"
        self._key = signing_key(from_environment(config.secret, f"{field}.secret"))
        self._client = httpx.AsyncClient(timeout=config.timeout_seconds, follow_redirects=False)

    async def send(self, changes: Sequence[Change]) -> Sequence[Refused]:
        """See :meth:`recserve.streams.sink.Target.send`."""
        answer = await self._post(changes)
        if answer.is_success:
            return ()
        reason = f"{self._host} answered {answer.status_code}"
        if answer.status_code not in _REFUSED:
            raise TargetError(reason, _retry_after(answer))
        if len(changes) == 1:
            return [Refused(changes[0], reason)]
        middle = len(changes) // 2
        return [*await self.send(changes[:middle]), *await self.send(changes[middle:])]

    async def _post(self, changes: Sequence[Change]) -> httpx.Response:
        body = orjson.dumps({"sink": self._sink, "changes": [_plain(change) for change in changes]})
        first, last = changes[0], changes[-1]
        # The same for the same changes: a receiver recognises a repeated batch by it.
        message_id = f"{self._sink}-{first.type}-{first.number}-{last.number}-{len(changes)}"
        now = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "recserve",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(self._key, message_id, now, body),
        }
        try:
            return await self._client.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise TargetError(f"{self._host} cannot be reached: {type(error).__name__}") from None

    async def close(self) -> None:
        """See :meth:`recserve.streams.sink.Target.close`."""
        await self._client.aclose()


def _plain(change: Change) -> dict[str, object]:
    return {"type": change.type, "id": change.id, "number": change.number, "data": change.data}


def _retry_after(answer: httpx.Response) -> float:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdecimal() and len(value) < 6 else 0.0
