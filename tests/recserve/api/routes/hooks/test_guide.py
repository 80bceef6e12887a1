"""The worked examples of the guide to streams, run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from recserve.api import ApiSettings, create_app
from recserve.config import parse_config
from tests.recserve.api.conftest import listening
from tools.structure import ROOT

GUIDE = ROOT / "docs" / "how-to" / "streams.md"


def blocks(kind: str) -> list[str]:
    """Blocks of a kind in the section on hooks."""
    section = GUIDE.read_text(encoding="utf-8").partition("## Hooks:")[2].partition("## When something")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return [text for of, text in found if of == kind]


def test_the_examples_of_the_guide_work(served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("curl") or not shutil.which("openssl"):
        pytest.skip("curl or openssl is missing")
    first, *others = blocks("yaml")
    settings = parse_config(yaml.safe_load("".join([first, *others])))
    scripts = blocks("")
    for name, value in re.findall(r"export (\w+)=(\S+)", "".join(scripts)):
        monkeypatch.setenv(name, value)
    app = create_app(served.app.state.backend, ApiSettings.of(settings))
    answers = {}
    with listening(app) as url:
        for script in scripts:
            local = script.replace("localhost:8000", url)
            run = subprocess.run(
                ["sh", "-c", local], capture_output=True, text=True, cwd=tmp_path, timeout=60
            )
            answers[re.findall(r"/v1/hooks/([a-z-]+)", script)[0]] = json.loads(run.stdout)
    assert set(answers) == set(settings.streams.hooks)
    for name, answer in answers.items():
        assert (answer.get("stored"), answer.get("refused")) == (1, 0), (name, answer)
    assert answers["shop-orders"]["skipped"] == 1
