"""Roles in docstrings become links of the documentation's site."""

from __future__ import annotations

from pathlib import Path

import griffe
import pytest

from tools.sphinx_roles import SphinxRoles

SHOP = '''
"""A shop, see :class:`Shelf` and :func:`goods.weigh`."""
from goods import Box


class Shelf(Box):
    """Holds :class:`~Box`; filled by :meth:`fill` and emptied by :meth:`Shelf.empty`."""

    size = 3
    """Boxes, of :attr:`size`; :data:`goods.LIMIT`."""

    def fill(self):
        """Opposite of :meth:`empty`; calls :func:`nothing.there`."""
'''
GOODS = '''
LIMIT = 3
"""Boxes at most."""


class Box:
    """A box."""

    def empty(self):
        """Take everything out."""


def weigh():
    """Weigh a box."""
'''


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> griffe.Module:
    folder = tmp_path_factory.mktemp("packages")
    write(folder / "goods" / "__init__.py", GOODS)
    write(folder / "shop" / "__init__.py", SHOP)
    loader = griffe.GriffeLoader(
        search_paths=[folder], extensions=griffe.load_extensions(SphinxRoles()), allow_inspection=False
    )
    loader.load("goods")
    found = loader.load("shop")
    assert isinstance(found, griffe.Module)
    return found


def write(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("place", "link"),
    [
        ("", "[`Shelf`][shop.Shelf]"),
        ("", "[`goods.weigh`][goods.weigh]"),
        ("Shelf", "[`Box`][goods.Box]"),
        ("Shelf", "[`fill`][shop.Shelf.fill]"),
        ("Shelf", "[`Shelf.empty`][goods.Box.empty]"),
        ("Shelf.size", "[`size`][shop.Shelf.size]"),
        ("Shelf.size", "[`goods.LIMIT`][goods.LIMIT]"),
        ("Shelf.fill", "[`nothing.there`][nothing.there]"),
    ],
)
def test_a_role_links_to_the_definition(shop: griffe.Module, place: str, link: str) -> None:
    """Names mean what they mean in Python: class before module, imports followed, inherited members found."""
    docstring = (shop[place] if place else shop).docstring
    assert link in docstring.value
    assert ":" not in docstring.value.replace(": ", "")
