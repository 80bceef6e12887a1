"""MkDocs hook: a page for each package of the code, and all decisions in the navigation."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tools import structure

FOLDER = "reference/code"
INTERNAL = "recserve.store.sql.migrations"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections of the navigation that follow from files."""
    decisions = sorted(path.name for path in Path(config.docs_dir, "decisions").glob("*.md"))
    for section in config.nav or []:
        match section:
            case {"Decisions": list(pages)}:
                pages.extend(f"decisions/{name}" for name in decisions)
            case {"Reference": list(pages)}:
                pages.append({"Code": [{name: f"{FOLDER}/{name}.md"} for name in pages_of_code()]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the code."""
    for name, modules in pages_of_code().items():
        content = f"# {name}\n\n" + "\n".join(f"::: {module}\n" for module in modules)
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=content))
    return files


def pages_of_code() -> dict[str, list[str]]:
    """Modules by page: a page for each room of the library, and for each other package."""
    pages: dict[str, list[str]] = {}
    for module in structure.modules():
        if not module.startswith(INTERNAL):
            pages.setdefault(page_of(module), []).append(module)
    return pages


def page_of(module: str) -> str:
    """Name of the page of a module: its package, within ``recserve`` the second name."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "recserve" else parts[0]
