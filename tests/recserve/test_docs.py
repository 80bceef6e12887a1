"""The written reference is what the code says, and links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from recserve.store.ingest.formats import FORMAT_NAMES

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


def test_reference_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("build_reference", ROOT / "docs" / "build_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, page in module.PAGES.items():
        written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
        assert written == page(), f"docs/reference/{name} is out of date; run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


TEST = re.compile(r"`((?:tests|plugins)/[\w/-]+\.py)::(test_\w+)`")


def test_every_fault_is_held_by_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "explanation" / "failures.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in page.splitlines()
        if line.startswith("| ") and not line.startswith(("| fault", "| ---"))
    ]
    assert len(rows) > 50
    assert [row for row in rows if not TEST.search(row)] == []
    named = {name for row in rows for name in TEST.findall(row)}
    gone = [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert gone == []


# Names of packages in backquotes; files such as `recserve.yaml` are none.
NAMED = re.compile(r"`(recserve(?:_\w+)?(?:\.\w+)+)`")
FILES = {"recserve.yaml", "recserve.db"}
# What these say of earlier versions stays as it was written.
HISTORY = ("CHANGELOG.md", "decisions")


def resolves(name: str) -> bool:
    """Whether it is a module, or an attribute of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not any(part in page.parts for part in HISTORY)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_modules_and_names_exist(page: Path) -> None:
    named = set(NAMED.findall(page.read_text(encoding="utf-8"))) - FILES
    assert sorted(name for name in named if not resolves(name)) == []


def test_a_name_that_is_gone_is_found() -> None:
    assert resolves("recserve.serving.pipeline.Pipeline")
    assert not resolves("recserve.serving.pipeline.Nothing")
    assert not resolves("recserve.nowhere")


def test_every_format_of_data_files_has_its_command() -> None:
    page = (ROOT / "docs" / "how-to" / "own-data.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [name for name in FORMAT_NAMES if not any(row.startswith(f"| `{name}`") for row in rows)] == []
