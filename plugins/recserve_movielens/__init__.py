"""MovieLens as a domain plugin: data sets, item text, genre filter and the wording of explanations.

This module is all that is imported until a component is used: parameters, names and hooks. What the
components do is in the modules beside it, one a concern, which makes this package a good one to copy
for a domain of your own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recserve import Catalogue, Component, hookimpl


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MovieLensParams(_Strict):
    """Where a MovieLens release comes from: a folder, or a download with its checksum."""

    path: Path | None = Field(None, description="Folder with the files of a release, in its official format.")
    url: str | None = Field(None, pattern=r"^https?://", description="Zip file of a release.")
    sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="Checksum of the zip file, hexadecimal."
    )
    cache: Path | None = Field(
        None, description="Where downloads are kept; default: the user's cache folder."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> MovieLensParams:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either 'path', or 'url' with 'sha256'")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("'url' and 'sha256' go together: a download is only used if it is the right one")
        return self


class GenreChoice(_Strict):
    """Argument of the filter ``genre`` that also says what not to return."""

    any: tuple[str, ...] = Field((), description="At least one of these, unless empty.")
    none: tuple[str, ...] = Field((), description="None of these.")


GenreArgument = str | Annotated[list[str], Field(min_length=1)] | GenreChoice
"""One genre, a list of which at least one must match, or ``{any: [...], none: [...]}``."""


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
