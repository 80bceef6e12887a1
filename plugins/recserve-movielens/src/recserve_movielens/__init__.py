"""MovieLens as a domain plugin: data sets, item text, genre filter and the wording of explanations.

This module is all that is imported until a component is used: parameters, names and hooks. What the
components do is in the modules beside it, one a concern, which makes this package a good one to copy
for a domain of your own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, hookimpl
from recserve_movielens.parameters import GenreArgument, GenreChoice, MovieLensParams


def _small(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_movielens.sources import MovieLensSmall

    return MovieLensSmall()


def _release(params: MovieLensParams, catalogue: Catalogue) -> Any:
    from recserve_movielens.sources import MovieLensRelease

    return MovieLensRelease(params)


def _text(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_movielens.wording import MovieText

    return MovieText()


def _genre(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_movielens.genre import GenreFilter

    return GenreFilter(catalogue)


def _explainer(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_movielens.wording import MovieExplainer

    return MovieExplainer()


@hookimpl
def register_datasets() -> Sequence[Component]:
    """The bundled sample, and any release from elsewhere."""
    return [
        Component("movielens-small", _small, summary="100,004 ratings of 9,066 films by 671 users, bundled."),
        Component("movielens", _release, MovieLensParams, summary="Any MovieLens release, by folder or URL."),
    ]


@hookimpl
def register_item_texts() -> Sequence[Component]:
    """Title, year and genres as the encoder reads them."""
    return [Component("movielens", _text, summary="'Toy Story (1995). Adventure, Animation, Children'")]


@hookimpl
def register_filters() -> Sequence[Component]:
    """Only films of some genres."""
    return [
        Component("genre", _genre, argument=GenreArgument, summary="Films of some genres, or not of others.")
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """Reasons in words of films and viewers."""
    return [Component("movielens", _explainer, summary="'Because you rated Toy Story'")]


__all__ = [
    "GenreArgument",
    "GenreChoice",
    "MovieLensParams",
    "register_datasets",
    "register_explainers",
    "register_filters",
    "register_item_texts",
]
