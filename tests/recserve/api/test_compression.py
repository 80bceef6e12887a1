"""Long answers are compressed for clients that read it, and say the same."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from starlette.requests import Request
from starlette.responses import Response

from recserve.api.middleware.compression import LEAST_BYTES, long_response


def answer(accepted: str | None, content: bytes) -> Response:
    headers = [] if accepted is None else [(b"accept-encoding", accepted.encode())]
    return asyncio.run(long_response(Request({"type": "http", "headers": headers}), content))


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP ; q=0.5"])
def test_a_long_answer_is_compressed_for_who_reads_it(accepted: str) -> None:
    content = b"0123456789" * LEAST_BYTES
    response = answer(accepted, content)
    assert response.headers["content-encoding"] == "gzip"
    assert len(response.body) * 10 < len(content)
    assert int(response.headers["content-length"]) == len(response.body)
    assert gzip.decompress(response.body) == content


@pytest.mark.parametrize("accepted", [None, "", "br", "identity", "gzip;q=0", "gzip; q=0.000", "x-gzip"])
def test_others_get_it_as_it_is(accepted: str | None) -> None:
    content = b"0123456789" * LEAST_BYTES
    response = answer(accepted, content)
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "Accept-Encoding"
    assert response.body == content


def test_a_short_answer_is_sent_as_it_is() -> None:
    assert "content-encoding" not in answer("gzip", b"x" * (LEAST_BYTES - 1)).headers
