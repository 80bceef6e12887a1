"""What is generated is what the API says today, and any tool can generate from its document."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Live
from tools.clients.operations import Parameter, document, left_out, operations
from tools.clients.python_types import answer_name, argument, docstring, hint, param_name
from tools.clients.typescript import camel
from tools.clients.writing import CLIENTS, TYPES, TYPESCRIPT, stale, wanted
from tools.structure import ROOT


def test_clients_are_up_to_date() -> None:
    changed = [str(path.relative_to(ROOT)) for path in stale(wanted())]
    assert changed == [], "run `python -m tools.clients`"


def test_every_operation_has_a_method() -> None:
    """Or answers with a stream, which no call can return, or is for programs that know no client."""
    from recserve_client import Client

    built = document()
    found = {one.name for one in operations(built)}
    ids = {raw["operationId"] for methods in built["paths"].values() for raw in methods.values()}
    assert found | set(left_out(built)) == ids
    assert found - set(dir(Client)) == {"events"}, "record_event and record_events are written by hand"


def test_what_changes_twice_is_not_sent_twice() -> None:
    once = {one.name for one in operations(document()) if not one.repeatable}
    assert {"create_experiment", "start_experiment", "stop_experiment"} <= once
    assert not {"recommend", "events", "upsert_items", "history", "report_outcomes"} & once


@pytest.mark.parametrize(
    ("schema", "sent", "received"),
    [
        ({"type": "string"}, "str", "str"),
        ({"anyOf": [{"type": "null"}, {"type": "number"}]}, "float | None", "float | None"),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/ItemBody"}},
            "Sequence[ItemParam]",
            "list[ItemBody]",
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "Mapping[str, int]",
            "dict[str, int]",
        ),
        ({"type": "object", "additionalProperties": True}, "Mapping[str, Any]", "dict[str, Any]"),
        ({"enum": ["a", "b"]}, "Literal['a', 'b']", "Literal['a', 'b']"),
        ({"const": False}, "Literal[False]", "Literal[False]"),
        ({"type": "string", "format": "date-time"}, "datetime | str", "str"),
        ({}, "Any", "Any"),
    ],
)
def test_schemas_as_types(schema: Mapping[str, Any], sent: str, received: str) -> None:
    assert hint(schema, sent=True) == sent
    assert hint(schema, sent=False) == received


def test_names() -> None:
    assert (answer_name("PageAnswer"), param_name("EventBody"), argument("from")) == (
        "Page",
        "EventParam",
        "from_",
    )
    assert camel("recommend_to_user") == "recommendToUser"


def test_docstrings_are_wrapped() -> None:
    assert docstring("Short", "") == ['"""Short."""']
    lines = docstring("First\nwords " * 30, "    ", Args={"n": "How many."})
    assert max(map(len, lines)) <= 100
    assert lines[-4:] == ["", "    Args:", "        n: How many.", '    """']
    assert Parameter("n", {}, True).description == "`n`."


def test_the_packages_have_the_version_of_the_server() -> None:
    described = json.loads((TYPESCRIPT / "package.json").read_text())
    locked = json.loads((TYPESCRIPT / "package-lock.json").read_text())
    assert described["version"] == locked["version"] == version("recserve")


@pytest.mark.slow
def test_types_of_typescript_are_up_to_date(npm: str, tmp_path: Path) -> None:
    written = tmp_path / "schema.ts"
    recipe = json.loads((TYPESCRIPT / "package.json").read_text())["scripts"]["types"]
    program, *options = shlex.split(recipe.replace("src/schema.ts", str(written)))
    command = [str(TYPESCRIPT / "node_modules" / ".bin" / program), *options]
    done = subprocess.run(command, cwd=TYPESCRIPT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert written.read_text() == TYPES.read_text(), "run `python -m tools.clients`"


@pytest.mark.slow
def test_a_strict_linter_finds_nothing(npm: str, tmp_path: Path, shared: Any) -> None:
    served = tmp_path / "openapi.json"
    served.write_text(shared.get("/openapi.json").text)
    environment = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}

    def lint(*files: Path) -> subprocess.CompletedProcess[str]:
        command = [npm, "run", "--silent", "lint", "--", "--format", "json", *map(str, files)]
        return subprocess.run(command, cwd=TYPESCRIPT, env=environment, capture_output=True, text=True)

    done = lint(served, CLIENTS / "openapi.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r'"(?:errors|warnings|ignored)": (\d+)', done.stdout) == ["0"] * 6

    wrong = json.loads(served.read_text())
    content = wrong["components"]["responses"]["Internal"]["content"]["application/json"]
    del content["examples"]["internal"]["value"]["error"]["field"]
    served.write_text(json.dumps(wrong))
    refused = lint(served)
    assert refused.returncode == 1
    assert "no-invalid-media-type-examples" in refused.stdout


# Without what they need: that is installed for the server, whose typer is newer than the generator asks for.
GENERATOR = ["openapi-python-client==0.29.1", "ruamel.yaml==0.19.1"]


@pytest.mark.slow
def test_openapi_python_client_generates_a_client_that_works(live: Live, tmp_path: Path) -> None:
    target = tmp_path / "generator"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        *GENERATOR,
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    described = tmp_path / "openapi.json"
    described.write_text(live.served.get("/openapi.json").text)
    made = tmp_path / "made"
    generate = [
        "generate",
        "--path",
        str(described),
        "--output-path",
        str(made / "foreign"),
        "--meta",
        "none",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", *generate, "--fail-on-warning"],
        env={
            **os.environ,
            # It formats by the ruff that it finds.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join([str(target), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout.lower()
    script = f"""
import sys
sys.path.insert(0, {str(made)!r})
import pkgutil, importlib, foreign
for module in pkgutil.walk_packages(foreign.__path__, "foreign."):
    importlib.import_module(module.name)
from foreign import Client
from foreign.api.recommendations import recommend
from foreign.models import ErrorAnswer, ErrorCode, PageAnswer, RecommendBody
client = Client(base_url={live.url!r})
page = recommend.sync(client=client, body=RecommendBody(user_id="42", n=3))
assert isinstance(page, PageAnswer) and len(page.items) == 3, page
refused = recommend.sync(client=client, body=RecommendBody(n=0))
assert isinstance(refused, ErrorAnswer) and refused.error.code is ErrorCode.INVALID_REQUEST, refused
assert refused.error.field == "n"
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
