"""The OpenAPI document, its offline page, and the whole API fuzzed from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from pydantic.json_schema import models_json_schema
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from recserve.api import create_app
from recserve.api.openapi import BODIES
from recserve.api.openapi.examples import example_of
from recserve.api.openapi.mistakes import FAILURES
from recserve.errors import RecserveError
from tests.support.bundles import promoted, write_bundle

ROUTES = {
    ("post", "/v1/recommend"),
    ("get", "/v1/recommend/{user_id}"),
    ("post", "/v1/similar"),
    ("post", "/v1/rank"),
    ("post", "/v1/events"),
    ("delete", "/v1/events"),
    ("delete", "/v1/events/{event_id}"),
    ("post", "/v1/hooks/{name}"),
    ("get", "/v1/items"),
    ("post", "/v1/items"),
    ("patch", "/v1/items"),
    ("delete", "/v1/items"),
    ("get", "/v1/items/{item_id}"),
    ("get", "/v1/vectors/map"),
    ("delete", "/v1/items/{item_id}"),
    ("post", "/v1/items/{item_id}/audience"),
    ("get", "/v1/users"),
    ("post", "/v1/users"),
    ("patch", "/v1/users"),
    ("get", "/v1/users/{user_id}"),
    ("delete", "/v1/users/{user_id}"),
    ("get", "/v1/users/{user_id}/history"),
    ("post", "/v1/users/{user_id}/merge"),
    ("get", "/v1/reports/outcomes"),
    ("get", "/v1/experiments"),
    ("post", "/v1/experiments"),
    ("get", "/v1/experiments/{name}"),
    ("get", "/v1/experiments/{name}/report"),
    ("post", "/v1/experiments/{name}/start"),
    ("post", "/v1/experiments/{name}/stop"),
    ("get", "/v1/bundles"),
    ("get", "/v1/bundles/compare"),
    ("post", "/v1/bundles/rollback"),
    ("get", "/v1/bundles/{bundle_id}"),
    ("get", "/v1/bundles/{bundle_id}/report"),
    ("post", "/v1/bundles/{bundle_id}/promote"),
    ("get", "/v1/config"),
    ("post", "/v1/config/validate"),
    ("get", "/v1/plugins"),
    ("get", "/v1/about"),
    ("get", "/v1/live"),
    ("get", "/v1/metrics"),
    ("get", "/v1/health/live"),
    ("get", "/v1/health/ready"),
}


TEXTS = {"/v1/metrics": "text/plain", "/v1/bundles/{bundle_id}/report": "text/html"}
"""Media types of answers that are no JSON."""


@pytest.fixture(scope="module")
def document(shared: Any) -> dict[str, Any]:
    found: dict[str, Any] = shared.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_is_described(document: dict[str, Any]) -> None:
    found = operations(document)
    assert set(found) == ROUTES
    for (_, path), operation in found.items():
        assert operation["summary"], path
        assert operation["description"], path
        assert len(operation["tags"]) == 1, path
        expected = {"200", "422", "500", "503"}
        if "requestBody" in operation:
            expected |= {"400", "413", "415"}
        if "/health/" not in path:
            expected |= {"401"} if "/hooks/" in path else {"401", "403", "429"}
        assert expected <= set(operation["responses"]), path
        success = operation["responses"]["200"]
        assert list(success["content"]) == [TEXTS.get(path, "application/json")]
        for status, response in operation["responses"].items():
            if status != "200":
                failure = FAILURES[response["$ref"].removeprefix("#/components/responses/")]
                assert str(failure.status) == status, path
    assert len({operation["operationId"] for operation in found.values()}) == len(found)


def test_references_lead_somewhere_and_nothing_is_unused(document: dict[str, Any]) -> None:
    """Names repeated as titles and nulls as defaults are left out: in a patch null removes something."""
    assert document["openapi"] == "3.1.0"
    named: set[str] = set()

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            assert "nullable" not in node, path
            if isinstance(node.get("type"), str):
                assert "title" not in node, path
                assert node.get("default", ...) is not None, path
            if "$ref" in node:
                _, _, kind, name = node["$ref"].split("/")
                assert name in document["components"][kind], path
                named.add(name)
            for key, value in node.items():
                if key not in ("example", "examples"):
                    walk(value, f"{path}/{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{path}/{index}")

    walk(document, "")
    assert named == {*document["components"]["schemas"], *document["components"]["responses"]}


def validator(document: dict[str, Any], schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


def test_every_body_and_answer_has_examples_that_fit(document: dict[str, Any]) -> None:
    tried = 0
    bodies = [
        operation["requestBody"] for operation in operations(document).values() if "requestBody" in operation
    ]
    answers = [operation["responses"]["200"] for operation in operations(document).values()]
    for place in (*bodies, *answers, *document["components"]["responses"].values()):
        for content in place["content"].values():
            named = {name: example["value"] for name, example in content.get("examples", {}).items()}
            examples = [*named.values(), *([content["example"]] if "example" in content else [])]
            assert examples, place
            for example in examples:
                validator(document, content["schema"]).validate(example)
                tried += 1
    assert tried > 75


def test_nulls_of_examples_are_kept(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/items"]["patch"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["Never expire"]["value"]["items"] == [{"item_id": "260", "expires_at": None}]
    page = document["paths"]["/v1/recommend"]["post"]["responses"]["200"]["content"]["application/json"]
    assert page["example"]["items"][0]["item_id"] == "1196"
    refused = document["components"]["responses"]["Unauthorized"]["content"]["application/json"]
    assert refused["examples"]["unauthorized"]["value"]["error"]["field"] is None


def test_a_field_without_an_example_is_found() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with pytest.raises(ValueError, match=r"Page\.n has no example"):
        example_of(schema, {}, "Page")


def errors(kind: type[RecserveError]) -> Iterator[type[RecserveError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from errors(narrower)


def test_every_code_of_an_error_is_in_the_document(document: dict[str, Any]) -> None:
    listed = document["components"]["schemas"]["ErrorCode"]["enum"]
    rooms = ("recserve.errors", "recserve.auth", "recserve.api", "recserve.training.promotion")
    # Gorse's API has its own shape of errors, and is not in the document.
    served = {
        kind.code
        for kind in errors(RecserveError)
        if kind.__module__.startswith(rooms) and not kind.__module__.startswith("recserve.api.routes.gorse")
    }
    assert served | {"http_error", "method_not_allowed"} == set(listed)
    for failure in FAILURES.values():
        for mistake in failure.mistakes:
            kinds = [kind for kind in errors(RecserveError) if kind.code == mistake.code]
            assert {kind.status for kind in kinds} == {failure.status}, mistake.code


def test_every_route_refuses_query_parameters_that_it_lacks(document: dict[str, Any], served: Any) -> None:
    for (method, path), operation in operations(document).items():
        filled = re.sub(r"\{\w+\}", "x", path)
        known = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
        refused = served.call(method, f"{filled}?unknwon=1")
        assert refused.status_code == 422, (method, path)
        error = refused.json()["error"]
        assert error["code"] == "invalid_request"
        assert error["message"].startswith("unknown query parameter 'unknwon'"), known
        assert error["field"] == "unknwon"


def test_examples_are_accepted_by_the_server(document: dict[str, Any], served: Any) -> None:
    bundles = [write_bundle(served.folder, served.store, seed=seed, ndcg=0.1 * seed) for seed in (1, 2)]
    promoted(served.store, bundles)
    tried = 0
    for (method, path), operation in operations(document).items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        assert (method in ("post", "patch")) <= bool(content.get("examples")), path
        for example in content.get("examples", {}).values():
            if "/hooks/" in path:
                continue  # what a body must be is up to the hook
            filled = path.replace("{user_id}", "42").replace("{item_id}", "260")
            filled = filled.replace("{name}", "without-ranker").replace("{bundle_id}", bundles[1])
            response = served.call(method, filled, json=example["value"])
            assert response.status_code == 200, response.text
            tried += 1
    assert tried == 31


def test_parameters_are_described_and_their_examples_work(document: dict[str, Any], served: Any) -> None:
    for (method, path), operation in operations(document).items():
        parameters = operation.get("parameters", [])
        filled, query = path, {}
        for parameter in parameters:
            assert parameter["description"], (method, path, parameter["name"])
            if parameter["in"] == "path":
                filled = filled.replace(f"{{{parameter['name']}}}", str(parameter["schema"]["examples"][0]))
            elif parameter["required"]:
                query[parameter["name"]] = parameter["schema"]["examples"][0]
        if method == "get":
            assert served.get(filled, params=query).status_code in (200, 404), filled


def test_field_examples_are_valid() -> None:
    _, schema = models_json_schema([(body, "validation") for body in BODIES])
    assert len(schema["$defs"]) > len(BODIES)
    for model, body in schema["$defs"].items():
        for name, field in body.get("properties", {}).items():
            assert field.get("description"), f"{model}.{name}"
            for example in field.get("examples", []):
                Draft202012Validator({**field, "$defs": schema["$defs"]}).validate(example)


def test_docs_load_nothing_from_elsewhere(shared: Any) -> None:
    page = shared.get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert links
    assert not re.findall(r"https?:|//", page.text.split("<script>")[0])
    for link in links:
        file = shared.get(f"/{link}")
        assert file.status_code == 200, link
        assert len(file.content) > 500
    assert '"validatorUrl": null' in page.text


def test_the_documentation_is_a_recent_swagger_ui(shared: Any) -> None:
    found = re.search(
        r'PACKAGE_VERSION: ?"(\d+)\.(\d+)', shared.get("/docs/static/swagger-ui-bundle.js").text
    )
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (5, 30)


def test_what_is_written_has_the_name_that_answers_have(document: dict[str, Any]) -> None:
    named = [set(schema.get("properties", ())) for schema in document["components"]["schemas"].values()]
    assert sum("attributes" in names for names in named) > 2
    assert not any("metadata" in names for names in named)


def test_a_score_says_what_it_may_be_compared_with(document: dict[str, Any]) -> None:
    scores = [
        schema["properties"]["score"]["description"]
        for schema in document["components"]["schemas"].values()
        if "score" in schema.get("properties", {})
    ]
    assert scores
    assert all("comparable only within one answer" in text for text in scores)


def test_the_page_and_its_files(shared: Any) -> None:
    page = shared.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    links = re.findall(r"""(?:src|href)=["']([^"'#]+)["']""", page.text)
    assert {"static/console/main.js", "static/styles/base.css", "static/icon.svg", "docs"} <= set(links)
    for link in links:
        assert shared.get(f"/{link}").status_code == 200, link
    for name in ("console/main.js", "console/views/try/view.js", "styles/base.css"):
        assert not re.findall(r"https?://", shared.get(f"/static/{name}").text)
    assert shared.get("/static/../settings.py").status_code == 404


# The tests are made from the document before there is a backend; the fixture brings it.
fuzzed_app = create_app()
schema = schemathesis.openapi.from_asgi("/openapi.json", fuzzed_app)
# A list that is too long may make the body too long first.
schema.config.checks.negative_data_rejection.expected_statuses.append("413")


@pytest.fixture
def with_backend(trained: FastAPI) -> None:
    fuzzed_app.state.backend = trained.state.backend


@schema.parametrize()
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_fuzz(case: Any, with_backend: None) -> None:
    # Rules that no JSON schema can state (a known scenario, a time that is not in the future, a filter
    # that exists) may refuse a body that fits the schema, so positive_data_acceptance is not asked for.
    case.call_and_validate(
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_headers_conformance,
            response_schema_conformance,
            negative_data_rejection,
            unsupported_method,
        ]
    )
