"""`recserve import` with vectors of named spaces, and what training, export and restore make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from recserve.bundles.bundle import Bundle
from recserve.cli import app
from recserve.errors import RecserveError
from recserve.store import open_store
from tests.conftest import run

CONFIG = """
vectors: {image: {dimensions: 3}}
scenarios: {home: {retrievers: [{use: content}, {use: popular}]}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "recserve.yaml").write_text(CONFIG)
    return home


def refused(code: int, *arguments: str | Path) -> str:
    """Run a command that fails with this status; what it says, on one line."""
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if isinstance(result.exception, RecserveError):
        assert code == 2
        return result.exception.message
    assert result.exit_code == code, result
    return " ".join(result.output.split())


def given(home: Path) -> dict[str, list[float]]:
    with open_store(None, home) as store:
        named = store.snapshot(events=False).vectors["image"]
    return dict(zip(named.item_ids, named.vectors.tolist(), strict=True))


def items(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_vectors_come_with_items_and_by_themselves(home: Path, tmp_path: Path) -> None:
    rows = [{"item_id": name, "title": name, "clip": [1, 2, number]} for number, name in enumerate("abc")]
    said = run("import", "--items", items(tmp_path, *rows), "--map", "vectors.image=clip", "--home", home)
    assert "of these with a vector in the space image" in said
    assert given(home)["c"] == [1, 2, 2]
    np.savez(tmp_path / "later.npz", item_id=["a", "x"], vectors=np.array([[9, 9, 9], [1, 1, 1]]))
    said = run("import", "--vectors", f"image={tmp_path / 'later.npz'}", "--home", home)
    assert "left out: their items are not in the catalogue" in said
    assert given(home) == {"a": [9, 9, 9], "b": [1, 2, 1], "c": [1, 2, 2]}
    with open_store(None, home) as store:
        assert store.items(["a"])["a"].attributes == {"title": "a"}


def test_too_many_bad_vectors_store_nothing(home: Path, tmp_path: Path) -> None:
    rows = [{"item_id": name, "vectors": {"image": [1, 2]}} for name in "abc"]
    said = refused(1, "import", "--items", items(tmp_path, *rows), "--home", home)
    assert "vectors.image has 2 numbers instead of 3" in said
    with open_store(None, home) as store:
        assert store.counts().items == 0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("audio=v.npz", "recserve.yaml declares no such space"),
        ("v.npz", "must look like image=FILE"),
    ],
)
def test_options_that_cannot_be_are_refused(home: Path, option: str, said: str) -> None:
    assert said in refused(2, "import", "--vectors", option, "--home", home)


def test_vectors_are_trained_on_exported_and_restored(home: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tastes = random.integers(0, 3, 60)
    path = items(
        tmp_path,
        *(
            {"item_id": f"i{row}", "title": f"thing {row}", "vectors": {"image": np.eye(3)[taste].tolist()}}
            for row, taste in enumerate(tastes)
            if row  # one has none
        ),
        {"item_id": "i0", "title": "thing 0"},
    )
    lines = ["user_id,item_id,event,timestamp"]
    for user in range(60):
        liked = random.choice(np.flatnonzero(tastes == user % 3), 10, replace=False)
        lines += [
            f"u{user},i{row},view,{1_600_000_000 + 100 * step + user}" for step, row in enumerate(liked)
        ]
    (tmp_path / "events.csv").write_text("\n".join(lines) + "\n")
    run("import", "--items", path, "--events", tmp_path / "events.csv", "--home", home)
    run("train", "--home", home)
    (folder,) = (home / "bundles").glob("2*")
    bundle = Bundle.open(folder)
    row = bundle.catalogue.ids.row("i0")
    space = bundle.catalogue.spaces["image"]
    assert not space[row].any()
    assert np.linalg.norm(np.delete(space, row, axis=0), axis=1) == pytest.approx(1)
    assert bundle.manifest.components["retriever.content"].facts["spaces"]["image"] > 0
    run("export", tmp_path / "export", "--home", home)
    run("restore", tmp_path / "export", "--home", tmp_path / "other")
    assert given(tmp_path / "other") == given(home)
    config = CONFIG.replace("dimensions: 3", "dimensions: 4")
    (home / "recserve.yaml").write_text(config)
    assert "vectors.image.dimensions is 4" in refused(2, "train", "--home", home)
