"""The notebooks under ``examples/`` run from the first cell to the last, without Jupyter."""

from __future__ import annotations

import importlib
import json
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recserve.cli import app

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"


def cells(notebook: Path) -> list[str]:
    """The source of each cell of code."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    assert all(cell["outputs"] == [] for cell in content["cells"] if cell["cell_type"] == "code")
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def install(folder: Path) -> None:
    """What ``pip install -e`` leaves behind: metadata with entry points, and the folder on the path."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    entries = [
        f"[{group}]\n" + "\n".join(f"{name} = {value}" for name, value in found.items())
        for group, found in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(entries), encoding="utf-8")
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()


class Notebook:
    """Runs cells as Jupyter does: Python, and the three magics that these notebooks use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, object] = {"__name__": "__main__"}
        self.said: list[str] = []

    def run(self, cell: str) -> None:
        """Run one cell."""
        first, _, rest = cell.partition("\n")
        if first.startswith("%%writefile "):
            file = self._folder / first.removeprefix("%%writefile ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{rest}\n", encoding="utf-8")
        elif first.startswith("%pip install "):
            words = shlex.split(first)
            if "-e" in words:
                install(self._folder / words[words.index("-e") + 1])
        elif first.startswith("!recserve "):
            done = CliRunner().invoke(app, shlex.split(first)[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            self.said.append(done.output)
        else:
            exec(compile(cell, "cell", "exec"), self._names)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook in a folder of its own; what it installs goes with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Notebook(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("my_taste"):
            del sys.modules[name]


def test_embed_your_own_model(notebook: Notebook) -> None:
    for cell in cells(NOTEBOOKS / "embed_your_own_model.ipynb"):
        notebook.run(cell)
    imported, trained, recommended = notebook.said
    assert "60 items" in imported
    assert "my_taste" in trained
    items = json.loads(recommended)["items"]
    assert len(items) == 5
    assert any("my_taste" in item["sources"] for item in items)
    kinds = [item["attributes"]["kind"] for item in items]
    assert kinds.count("crime") >= 3  # what the first reader likes


def test_every_notebook_has_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [file.name for file in NOTEBOOKS.glob("*.ipynb") if file.name not in source] == []
