"""``recserve new``: starting points that work at once."""

from __future__ import annotations

import keyword
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

import recserve
from recserve.cli.common import out
from recserve.errors import ConfigError

_TEMPLATES = files("recserve.cli.new") / "templates"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="Write a starting point: a plugin.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command("plugin")(plugin_command)
    app.add_typer(group, name="new")


def plugin_command(
    name: Annotated[str, typer.Argument(help="Name of the retriever, such as same_brand.")],
    directory: Annotated[
        Path | None, typer.Option("--directory", help="New folder; default: recserve-NAME.")
    ] = None,
    attribute: Annotated[
        str, typer.Option("--attribute", help="Attribute of your items that its default compares.")
    ] = "category",
) -> None:
    """Write a working plugin: a retriever, tests with the conformance suite, and a README."""
    if not name.isidentifier() or not name.islower() or keyword.iskeyword(name):
        raise ConfigError(
            f"plugin name {name!r} must consist of lower-case letters, digits and _, such as 'same_brand'",
            field="name",
        )
    if not attribute.isprintable() or '"' in attribute or "\\" in attribute or not attribute:
        raise ConfigError(f"attribute {attribute!r} must be a name without quotes", field="attribute")
    dashed = name.replace("_", "-")
    folder = Path(f"recserve-{dashed}") if directory is None else directory
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another with --directory", field="directory")
    major, minor, _ = recserve.__version__.split(".", 2)
    values = {
        "name": name,
        "dashed": dashed,
        "camel": "".join(part.capitalize() for part in name.split("_")),
        "attribute": attribute,
        "version": f"{major}.{minor}",
        "next_version": f"{major}.{int(minor) + 1}",
    }
    targets = {
        "pyproject.toml.txt": "pyproject.toml",
        "README.md.txt": "README.md",
        "init.py.txt": f"src/recserve_{name}/__init__.py",
        "test.py.txt": f"tests/test_{name}.py",
    }
    for template, target in targets.items():
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
        path.write_text(text, encoding="utf-8")
    (folder / "src" / f"recserve_{name}" / "py.typed").touch()
    out.print(f"wrote {folder}")
    out.print(f"next: cd {folder} && pip install -e '.\\[test]' && pytest")
