"""The data sources ``movielens-small`` and ``movielens``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recserve import Demo, Tables
from recserve_movielens.download import fetch
from recserve_movielens.formats import read_folder
from recserve_movielens.parameters import MovieLensParams

BUNDLED = Path(__file__).parent / "data" / "movielens-small"

_ALL = [
    {"use": "mf"},
    {"use": "item_knn", "params": {"half_life_events": 3}},
    {"use": "content"},
    {"use": "popular", "candidates": 100},
]
_COMMON: Mapping[str, Any] = {"filters": [{"use": "genre"}], "explainer": {"use": "movielens"}}

SUGGESTED: Mapping[str, Any] = {
    "item_text": {"use": "movielens"},
    "scenarios": {
        "home": {"retrievers": _ALL, "budget": 400, "ranker": {"use": "bert_lstm"}, **_COMMON},
        # What goes with one film: its neighbours in text and taste, whoever asks.
        "similar": {"retrievers": [{"use": "content"}, {"use": "mf", "weight": 0.5}], **_COMMON},
        # What to watch right after: about this session from the first click on, hence without the
        # ranker, which for good reasons goes by popularity while it knows little.
        "session": {
            "retrievers": [{"use": "content"}, {"use": "mf"}],
            "rerankers": [{"use": "mmr"}],
            **_COMMON,
        },
        # What somebody looks for by words may well be a film that was seen before.
        "search": {"retrievers": [{"use": "lexical"}, {"use": "content"}], "seen": "allow", **_COMMON},
    },
}
"""Configuration for films that viewers have rated, a scenario for each place in a product."""


class MovieLensSmall:
    """The sample that comes with this package; its terms of use are in the file beside it."""

    demo = Demo("73", "rating", 5, shown=("year", "genres"))

    def read(self) -> Tables:
        """100,004 ratings and 9,066 films."""
        return read_folder(BUNDLED)

    def suggested_config(self) -> Mapping[str, Any]:
        """See :data:`SUGGESTED`."""
        return SUGGESTED


class MovieLensRelease:
    """Any release, from a folder or downloaded.

    Args:
        params: Where from.
    """

    def __init__(self, params: MovieLensParams) -> None:
        self._params = params

    def read(self) -> Tables:
        """The ratings and films of the release.

        Raises:
            DataError: It cannot be found, downloaded, verified or read.
        """
        params = self._params
        if params.url is not None and params.sha256 is not None:
            return read_folder(fetch(params.url, params.sha256, params.cache))
        return read_folder(Path(params.path or ".").expanduser())

    def suggested_config(self) -> Mapping[str, Any]:
        """See :data:`SUGGESTED`."""
        return SUGGESTED
