"""Where a language model may be, and what is refused before anything is sent."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from recserve_llm.parameters import ConnectionParams, LlmExplainerParams, LlmRerankParams


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("llm.example/v1", "write an address"),
        ("file:///etc/passwd", "write an address"),
        ("https://user:secret@llm.example/v1", "without user"),
        ("https://llm.example/v1?key=1", "without user"),
        ("http://llm.example/v1", "plain http"),
        ("http://10.0.0.7/v1", "plain http"),
    ],
)
def test_addresses_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ConnectionParams(base_url=url, model="m")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081/v1/", "http://localhost/v1", "http://[::1]:1/v1"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    assert ConnectionParams(base_url=url, model="m").base_url == url.rstrip("/")


def test_plain_http_to_another_machine_is_said() -> None:
    assert ConnectionParams(base_url="http://10.0.0.7/v1", model="m", plain_http=True).plain_http


def test_there_is_no_default_address() -> None:
    with pytest.raises(ValidationError, match="base_url"):
        LlmRerankParams(model="m")  # type: ignore[call-arg]


def test_components_share_what_they_connect_by() -> None:
    reranker = LlmRerankParams(base_url="https://llm.example/v1", model="m", k=5)
    explainer = LlmExplainerParams(base_url="https://llm.example/v1", model="m", base_params={"a": [1]})
    assert reranker.connection() == explainer.connection()
