"""OpenAI-compatible chat client: every call has a deadline, a size, a place in a queue and a price."""

from __future__ import annotations

import asyncio
import os
import ssl
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from threading import Lock

import httpx

from recserve import ConfigError
from recserve_llm.client.breaker import Budget, CircuitBreaker
from recserve_llm.client.completion import ChatRequest, Completion, LlmError, read_completion
from recserve_llm.client.loop import background_loop
from recserve_llm.parameters import ConnectionParams

_BUSY = frozenset({429, 503})


class ChatClient:
    """Client of one model. Safe to use from several threads.

    Calls go to ``base_url`` alone: no proxy of the environment, no redirect, no other host. A call that fails
    in any way is an :class:`LlmError`; after five in a row most calls are refused at once for a while.

    Args:
        params: The connection.

    Raises:
        ConfigError: The key's environment variable or the file of certificates is missing.
    """

    def __init__(self, params: ConnectionParams) -> None:
        self.params = params
        self._headers = {"accept": "application/json", "accept-encoding": "identity"}
        self._key = _key(params)
        if self._key:
            self._headers["authorization"] = f"Bearer {self._key}"
        self._context = _tls(params)
        self._breaker = CircuitBreaker()
        self._budget = Budget(params.requests_a_minute)
        self._lock = Lock()
        self._pending = 0
        self._client: httpx.AsyncClient | None = None
        self._turns: asyncio.Semaphore | None = None

    def submit(self, request: ChatRequest) -> Future[Completion]:
        """Ask in the background.

        Returns:
            The completion to be, or an :class:`LlmError`.
        """
        refused = self._refusal()
        if refused is not None:
            failed: Future[Completion] = Future()
            failed.set_exception(refused)
            return failed
        return asyncio.run_coroutine_threadsafe(self._call(request), background_loop())

    def _refusal(self) -> LlmError | None:
        """Why the next call is not even made; None takes a place in the queue for it."""
        params = self.params
        with self._lock:
            if self._pending >= params.concurrency + params.max_queue:
                return LlmError(f"{self._pending} calls to the language model wait already", "overloaded")
            if not self._budget.take():
                return LlmError("the budget of calls a minute is spent", "over_budget")
            if not self._breaker.admits():
                return LlmError("the language model failed several times in a row", "down")
            self._pending += 1
            return None

    async def _call(self, request: ChatRequest) -> Completion:
        try:
            try:
                async with asyncio.timeout(self.params.timeout_ms / 1000):
                    found = await self._in_turn(request)
            except TimeoutError:
                message = f"the language model took longer than {self.params.timeout_ms} ms"
                raise LlmError(message, "late") from None
            except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
                raise LlmError(f"cannot reach the language model: {type(error).__name__}", "down") from None
        except LlmError:
            self._breaker.failed()
            raise
        finally:
            with self._lock:
                self._pending -= 1
        self._breaker.succeeded()
        return found

    async def _in_turn(self, request: ChatRequest) -> Completion:
        if self._client is None or self._turns is None:
            # Made where they are used: both belong to the background loop.
            self._turns = asyncio.Semaphore(self.params.concurrency)
            self._client = httpx.AsyncClient(
                verify=self._context,
                headers=self._headers,
                timeout=None,  # _call has one for the whole call
                limits=httpx.Limits(max_connections=self.params.concurrency),
                follow_redirects=False,
                trust_env=False,
            )
        async with self._turns:
            url = f"{self.params.base_url}/chat/completions"
            payload = request.payload(self.params.model)
            async with self._client.stream("POST", url, json=payload) as response:
                body = await _bounded(response, self.params.max_response_bytes)
                if response.status_code != 200:
                    raise _refused(response.status_code)
                return read_completion(body)


@lru_cache(maxsize=64)
def shared_client(params: ConnectionParams) -> ChatClient:
    """The client of this process for a connection, so that its limits hold for all who use it."""
    return ChatClient(params)


async def _bounded(response: httpx.Response, limit: int) -> bytes:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > limit:
            raise LlmError(f"the language model's answer is longer than {limit:,} bytes")
    return bytes(body)


def _refused(status: int) -> LlmError:
    if 300 <= status < 400:
        return LlmError(f"the language model's server redirects (HTTP {status}), which is not followed")
    busy = status in _BUSY
    return LlmError(f"the language model's server answered HTTP {status}", "overloaded" if busy else "failed")


def _key(params: ConnectionParams) -> str | None:
    name = params.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"environment variable {name}, which `api_key_env` names, holds no API key; set it where the "
            "server starts",
            field="api_key_env",
        )
    return key


def _tls(params: ConnectionParams) -> ssl.SSLContext:
    if params.ca_file is not None and not Path(params.ca_file).is_file():
        raise ConfigError(f"ca_file: there is no file {params.ca_file}", field="ca_file")
    try:
        return ssl.create_default_context(cafile=params.ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"ca_file: {params.ca_file} holds no certificates: {error}", field="ca_file"
        ) from None
