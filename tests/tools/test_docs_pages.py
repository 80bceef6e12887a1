"""The site has a page for all code, and all decisions in its navigation."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config import load_config

from tools import docs_pages, structure

ROOT = Path(__file__).parents[2]


def test_every_module_is_on_one_page() -> None:
    listed = [module for modules in docs_pages.pages_of_code().values() for module in modules]
    assert len(listed) == len(set(listed))
    left_out = set(structure.modules()) - set(listed)
    assert left_out
    assert all(module.startswith(docs_pages.INTERNAL) for module in left_out)


def test_rooms_of_the_library_and_packages_have_a_page_each() -> None:
    assert docs_pages.page_of("recserve") == "recserve"
    assert docs_pages.page_of("recserve.store.sql.database") == "recserve.store"
    assert docs_pages.page_of("recserve_mf.cpu") == "recserve_mf"


def test_decisions_and_code_are_in_the_navigation() -> None:
    config = docs_pages.on_config(load_config(str(ROOT / "mkdocs.yml")))
    sections = {
        title: pages
        for section in config.nav or []
        if isinstance(section, dict)
        for title, pages in section.items()
    }
    written = {f"decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md")}
    assert set(sections["Decisions"]) == written
    code = sections["Reference"][-1]["Code"]
    assert {"recserve.serving": "reference/code/recserve.serving.md"} in code


def test_the_code_is_found_where_the_site_looks_for_it() -> None:
    """A new plugin's sources must be among the paths of mkdocstrings."""
    config = load_config(str(ROOT / "mkdocs.yml"))
    paths = config.plugins["mkdocstrings"].config.handlers["python"]["paths"]
    folders = {str(package.parent.relative_to(ROOT)) for package in structure.packages()}
    assert set(paths) == folders
