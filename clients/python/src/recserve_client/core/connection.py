"""What every request of a client carries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DEFAULT_TIMEOUT = 30.0
"""Seconds; a server answers within 28, if only to say that it is late."""


def headers(api_key: str | None) -> dict[str, str]:
    """Headers of every request."""
    try:
        release = version("recserve-client")
    except PackageNotFoundError:
        release = "unknown"  # run from its sources
    sent = {"Accept": "application/json, text/*", "User-Agent": f"recserve-client/{release}"}
    if api_key is not None:
        sent["Authorization"] = f"Bearer {api_key}"
    return sent
