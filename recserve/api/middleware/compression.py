"""Compression of long answers on which no recommendation waits, such as reports."""

from __future__ import annotations

import gzip

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

LEAST_BYTES = 16_384
"""What is shorter is sent as it is."""

_LEVEL = 5


async def long_response(request: Request, content: bytes, media_type: str = "application/json") -> Response:
    """An answer, compressed by gzip if it is long and the client reads that.

    Args:
        request: What is answered.
        content: The body.
        media_type: Of the body.
    """
    headers = {"Vary": "Accept-Encoding"}
    if len(content) >= LEAST_BYTES and _reads_gzip(request.headers.get("accept-encoding", "")):
        content = await run_in_threadpool(gzip.compress, content, _LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=media_type, headers=headers)


def _reads_gzip(accepted: str) -> bool:
    """Whether a header ``Accept-Encoding`` names gzip, and not with a weight of 0 (RFC 9110, 12.5.3)."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.replace(" ", "").partition(";q=")
        if name == "gzip":
            return weight.rstrip("0").rstrip(".") not in ("0", "") if weight else True
    return False
