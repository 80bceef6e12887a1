"""The filter ``genre``: films of some genres, or not of others."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from recserve import Catalogue, InvalidRequestError
from recserve_movielens.parameters import GenreArgument, GenreChoice

_argument: TypeAdapter[Any] = TypeAdapter(GenreArgument)


class GenreFilter:
    """Allows films by genre; names are compared without regard to case.

    Args:
        catalogue: Items with an attribute ``genres``, a list (or one name); films without any genre
            match no name.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._column = catalogue.column("genres")
        self._names: dict[str, str] = {}
        # Films have few different lists of genres: each is looked at once.
        self._places: dict[str, list[int]] = {}
        for place, genres in enumerate(self._column.values):
            for name in [genres] if isinstance(genres, str) else genres or ():
                self._names.setdefault(name.casefold(), name)
                self._places.setdefault(name.casefold(), []).append(place)

    def allowed(self, argument: Any) -> NDArray[np.bool_] | None:
        """The films that a request's ``genre`` allows.

        Args:
            argument: :data:`recserve_movielens.parameters.GenreArgument`, or None to allow all.

        Returns:
            bool, shape (n_items,), or None for all.

        Raises:
            InvalidRequestError: A genre that no film of the catalogue has.
        """
        choice = _choice(argument)
        if not choice.any and not choice.none:
            return None
        mask = self._having(choice.any) if choice.any else np.ones(len(self._column), dtype=np.bool_)
        return mask & ~self._having(choice.none)

    def _having(self, names: tuple[str, ...]) -> NDArray[np.bool_]:
        """Films with at least one of these genres."""
        having = np.zeros(len(self._column.values), dtype=np.bool_)
        for name in names:
            having[self._places[self._known(name)]] = True
        return having[self._column.codes]

    def _known(self, name: str) -> str:
        folded = name.strip().casefold()
        if folded in self._places:
            return folded
        near = difflib.get_close_matches(folded, self._names, n=1, cutoff=0.5)
        hint = f"; did you mean {self._names[near[0]]!r}?" if near else ""
        known = ", ".join(sorted(self._names.values())) or "none"
        raise InvalidRequestError(
            f"unknown genre {name[:60]!r}{hint} (genres of this catalogue: {known})", field="filter.genre"
        )


def _choice(argument: Any) -> GenreChoice:
    if argument is None:
        return GenreChoice()
    given = _argument.validate_python(argument)
    if isinstance(given, GenreChoice):
        return given
    return GenreChoice(any=(given,) if isinstance(given, str) else tuple(given))
