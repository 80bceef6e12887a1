"""What long commands say where there is no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recserve.cli.common import PROGRESS_SECONDS, ProgressLines
from tests.conftest import Domain


def test_long_work_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = ProgressLines(lambda: now)
    for done in range(0, 50_001, 100):  # 100 in 0.5 s
        lines("Encoding items", done, 50_000)
        now += 0.5
    lines("Writing the bundle", 0, 1)
    lines.finish()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "Encoding items"
    assert said[1] == "Encoding items: 1,000 of 50,000 (2%), about 4 min 5 s left"
    assert said[-1] == "Writing the bundle"
    assert len(said) == pytest.approx(250 / PROGRESS_SECONDS, abs=2)


def test_what_goes_into_a_file_has_no_control_characters_and_is_not_cut(
    domain: Domain, tmp_path: Path
) -> None:
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}

    def run(*arguments: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "recserve", *arguments, "--home", str(tmp_path / "home")],
            capture_output=True,
            text=True,
            env={**plain, **variables},
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    said = run("import", "--events", str(domain.events), "--items", str(domain.items))
    name = "a program with a name that is rather long " * 3
    run("keys", "create", name, "--scope", "read")
    listed = run("keys", "list")
    for text in (said, listed):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert name.strip() in listed
    assert max(map(len, run("keys", "list", COLUMNS="60").splitlines())) <= 60
