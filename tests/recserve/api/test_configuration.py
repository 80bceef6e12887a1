"""`/v1/config`: shown without secrets, and changed texts checked without being applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from fastapi.testclient import TestClient

from recserve.api import create_app
from recserve.api.backends.desks.configuration import ConfigurationDesk
from recserve.api.schemas.configuration import ConfigurationAnswer, ConfigurationCheckAnswer
from recserve.config import parse_config
from recserve.plugin.registry import Registry
from tests.recserve.api.conftest import SETTINGS, build

PLAIN = {
    "store": {"url": "postgresql+psycopg://shop:hush@db/shop?sslpassword=hush"},
    "encoder": None,
    "scenarios": {"home": {"retrievers": [{"use": "popular"}], "ranker": None}},
    "train": {"seed": 3},
}


# Few lines that stand for a thousand million values.
_LAUGHS = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 10)
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    made = build(tmp_path_factory.mktemp("configuration"))
    backend = made.app.state.backend
    backend.configuration = ConfigurationDesk(parse_config(PLAIN), Registry.discover)
    with made.store, TestClient(create_app(backend, SETTINGS)) as opened:
        yield opened


def check(client: TestClient, text: str) -> dict[str, Any]:
    response: httpx.Response = client.post("/v1/config/validate", json={"text": text})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    ConfigurationCheckAnswer.model_validate(answer)
    return answer


def test_it_is_shown_without_secrets(client: TestClient) -> None:
    response = client.get("/v1/config")
    answer = response.json()
    ConfigurationAnswer.model_validate(answer)
    assert answer["masked"]
    assert "hush" not in response.text
    assert answer["config"]["store"]["url"] == "postgresql+psycopg://***@db/shop?***"
    assert yaml.safe_load(answer["text"]) == answer["config"]


def test_what_was_shown_changes_nothing(client: TestClient) -> None:
    found = check(client, client.get("/v1/config").json()["text"])
    assert (found["valid"], found["mistakes"], found["changes"], found["diff"]) == (True, [], [], "")
    assert (found["needs"], found["masked"]) == ("nothing", True)


@pytest.mark.parametrize(
    ("change", "needs", "line"),
    [
        ({"server": {"port": 8001}}, "restart", "+  port: 8001"),
        ({"train": {"seed": 4}}, "training", "+  seed: 4"),
    ],
)
def test_a_change_says_what_it_needs(
    client: TestClient, change: dict[str, Any], needs: str, line: str
) -> None:
    found = check(client, yaml.safe_dump(PLAIN | change))
    assert found["valid"], found
    assert found["needs"] == needs
    assert line in found["diff"].splitlines()
    ((section, values),) = change.items()
    assert section in {one["key"].split(".")[0] for one in found["changes"]}
    assert next(iter(values)) in found["diff"]
    assert "hush" not in found["diff"]


def test_every_mistake_is_named(client: TestClient) -> None:
    text = """
    train: {sed: 1, test_window: 7}
    store: {lake: [1]}
    scenarios: {home: {retrievers: [{use: popular, weight: -1}]}}
    """
    found = check(client, text)
    assert (found["valid"], found["needs"]) == (False, None)
    fields = {one["field"] for one in found["mistakes"]}
    assert {"train.sed", "train.test_window", "store.lake", "scenarios.home.retrievers[0].weight"} <= fields
    (slip,) = (one["message"] for one in found["mistakes"] if one["field"] == "train.sed")
    assert "did you mean 'seed'?" in slip


def test_mistakes_of_components_are_named(client: TestClient) -> None:
    scenario = {
        "retrievers": [{"use": "populer"}, {"use": "mf", "params": {"dimension": 0, "epoks": 1}}],
        "ranker": None,
    }
    found = check(client, yaml.safe_dump(PLAIN | {"scenarios": {"home": scenario}}))
    messages = {one["field"]: one["message"] for one in found["mistakes"]}
    assert "did you mean 'popular'?" in messages["scenarios.home.retrievers[0].use"]
    assert "scenarios.home.retrievers[1].params.dimension" in messages
    assert "epoks" in messages["scenarios.home.retrievers[1].params.epoks"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "must be a mapping"),
        ("1: 2", "a key must be a text"),
        ("train: !!binary aGk=", "not bytes"),
        ("&a [*a, *a]", "more than"),
        ("[" * 3_000, "not valid YAML"),
        (_LAUGHS, "more than"),
    ],
)
def test_what_is_no_configuration_is_one_mistake(client: TestClient, text: str, told: str) -> None:
    (mistake,) = check(client, text)["mistakes"]
    assert told in mistake["message"]


def test_a_text_is_bounded(client: TestClient) -> None:
    response = client.post("/v1/config/validate", json={"text": "a" * 50_001})
    assert response.status_code == 422
    assert response.json()["error"]["field"] == "text"


def test_plugins_say_where_they_are_used(client: TestClient) -> None:
    plugins = client.get("/v1/plugins").json()["plugins"]
    components = [component for plugin in plugins for component in plugin["components"]]
    used = {one["name"]: [use["where"] for use in one["used"]] for one in components if one["used"]}
    assert used["fields"] == ["item_text"]


def test_nothing_is_applied(client: TestClient) -> None:
    assert check(client, "train: {seed: 9}")["valid"]
    assert client.get("/v1/config").json()["config"]["train"] == {"seed": 3}
