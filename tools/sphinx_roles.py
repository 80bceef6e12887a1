"""Griffe extension that turns Sphinx roles in docstrings, such as ``:meth:`fit` ``, into links of the site.

A name is looked up where its docstring stands, as Python would: in the class, the module and its imports.
A name that leads nowhere becomes a link without a target, which ``mkdocs build --strict`` refuses.
"""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":(?:mod|class|meth|func|attr|data|exc):`~?([^`]+)`")


class SphinxRoles(griffe.Extension):
    """Rewrites the docstrings of a package once all of it is loaded."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: object) -> None:
        """Rewrite the docstrings of all modules, classes, functions and attributes."""
        self._rewrite(pkg, loader.modules_collection)

    def _rewrite(self, scope: griffe.Object, modules: griffe.ModulesCollection) -> None:
        if scope.docstring is not None:
            scope.docstring.value = ROLE.sub(
                lambda role: f"[`{role[1]}`][{target(role[1], scope, modules)}]", scope.docstring.value
            )
        for member in scope.members.values():
            if isinstance(member, griffe.Object):
                self._rewrite(member, modules)


def target(name: str, scope: griffe.Object, modules: griffe.ModulesCollection) -> str:
    """Full path of the definition that a name in the docstring of ``scope`` means, or the name if none."""
    first, _, rest = name.partition(".")
    try:
        path = f"{scope.resolve(first)}.{rest}".rstrip(".")
    except griffe.NameResolutionError:
        path = name
    try:
        return str(modules[path].canonical_path)
    except (KeyError, griffe.GriffeError):
        return inherited(path, modules) or path


def inherited(path: str, modules: griffe.ModulesCollection) -> str | None:
    """Full path of a member that a class has from a base."""
    owner, _, member = path.rpartition(".")
    try:
        found = modules[owner]
        return str(found.all_members[member].canonical_path)
    except (KeyError, ValueError, griffe.GriffeError):
        return None
