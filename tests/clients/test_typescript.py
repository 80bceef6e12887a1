"""The client in TypeScript: it compiles strictly, and its own tests pass against a live server."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.clients.conftest import Live
from tools.clients.writing import TYPESCRIPT

pytestmark = pytest.mark.slow


def test_its_tests_pass_against_a_live_server(built: str, live: Live) -> None:
    for script in ("check", "test"):
        done = subprocess.run(
            [built, "run", "--silent", script],
            cwd=TYPESCRIPT,
            env={**os.environ, "RECSERVE_URL": live.url},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"npm run {script}\n{done.stdout}{done.stderr}"
    assert "\n# fail 0\n" in done.stdout
    assert "\n# skipped 0\n" in done.stdout


def test_the_package_has_all_that_it_exports(built: str) -> None:
    done = subprocess.run(
        [built, "pack", "--dry-run", "--ignore-scripts", "--json"],
        cwd=TYPESCRIPT,
        capture_output=True,
        text=True,
        check=True,
    )
    (packed,) = json.loads(done.stdout)
    files = {file["path"] for file in packed["files"]}
    assert {"package.json", "README.md", "dist/index.js", "dist/index.d.ts", "dist/schema.d.ts"} <= files
    assert not [path for path in files if path.startswith(("src", "test", "node_modules"))]
