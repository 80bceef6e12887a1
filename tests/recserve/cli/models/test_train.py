"""What `recserve train` says of what it measured."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import run


def test_figures_that_are_one_share_a_row_and_say_how_they_were_measured(
    trained_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(trained_home, home)
    said = run("train", "--home", home)
    rows = [line for line in said.splitlines() if "@" in line and "│" in line]
    assert any("mrr@10 = map@10" in row for row in rows)
    assert len({row.split("@")[0] + row.split("│")[-2] for row in rows}) == len(rows)
    assert "at most 50 queries a user; `recserve evaluate` spares nothing" in " ".join(said.split())
