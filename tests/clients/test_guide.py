"""The snippets of the guide run against a live server, and say the same in each language."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from recserve_client import Client

from tests.clients.conftest import Live
from tools.clients.writing import CLIENTS, TYPESCRIPT
from tools.structure import ROOT

GUIDE = ROOT / "docs" / "how-to" / "clients.md"
TAB = re.compile(r'^=== "(\w+)"\n\n    ```\w+\n(.*?)^    ```$', re.MULTILINE | re.DOTALL)


def snippets(language: str) -> list[str]:
    found = TAB.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(found) == 18
    return [dedent(text) for name, text in found if name == language]


def python_says(live: Live, folder: Path) -> str:
    script = folder / "snippets.py"
    script.write_text("\n".join(snippets("Python")).replace("http://localhost:8000", live.url))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def again(live: Live) -> Any:
    """Forgets what the snippets wrote."""

    def forget() -> None:
        with Client(live.url) as client:
            client.delete_user("42")
            client.delete_item("t-1")

    forget()
    return forget


def test_python_and_curl_say_the_same(live: Live, again: Any, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    said = python_says(live, tmp_path).splitlines()
    again()
    answers = []
    for snippet in snippets("curl"):
        command = snippet.replace("localhost:8000", live.url.removeprefix("http://"))
        done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    about, recorded, page, similar, stored, history = answers
    assert said == [
        about["version"],
        str(recorded["stored"]),
        *(f"{item['item_id']} {item['explanation']}" for item in page["items"]),
        *(f"{item['rank']} {item['item_id']}" for item in similar["items"]),
        str(stored["accepted"]),
        *(f"{event['event']} {event['title']}" for event in history["events"]),
    ]
    assert len(said) == 11


@pytest.mark.slow
def test_typescript_says_the_same(built: str, live: Live, again: Any, tmp_path: Path) -> None:
    said = python_says(live, tmp_path)
    again()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "recserve-client").symlink_to(TYPESCRIPT)
    (example,) = re.findall(r"^```ts\n(.*?)^```$", (TYPESCRIPT / "README.md").read_text(), re.M | re.S)
    for name, text in (("snippets", "\n".join(snippets("TypeScript"))), ("readme", example)):
        (tmp_path / f"{name}.mts").write_text(text.replace("http://localhost:8000", live.url))
    compiler = TYPESCRIPT / "node_modules" / ".bin" / "tsc"
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "snippets.mts", "readme.mts"]
    done = subprocess.run([str(compiler), *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    shown = {}
    for name in ("snippets", "readme"):
        done = subprocess.run(["node", f"{name}.mjs"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        shown[name] = done.stdout
    assert shown["snippets"] == said
    assert "not_found unknown item 'no such item'" in shown["readme"]


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_python_readme_run(live: Live, number: int) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (CLIENTS / "python" / "README.md").read_text(), re.M | re.S
    )
    script = blocks[number].replace("http://localhost:8000", live.url)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("unknown item 'no such item'" in done.stdout) == (number == 0)
