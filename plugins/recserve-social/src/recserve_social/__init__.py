"""A social feed as a domain plugin: who follows whom, whose posts that brings, data source and wording.

This module is all that is imported until a component is used. One concern a module: ``authors`` (posts and
their authors as arrays), ``following`` and ``friends`` (the retrievers), ``by_authors`` (what they share),
``formats`` (files), ``sample`` (a made-up network), ``wording``; the configuration is ``recserve.yaml``
beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, Demo, FolderParams, FolderSource, SampleSource, hookimpl
from recserve_social.parameters import FollowingParams, FriendsParams

CONFIG = Path(__file__).parent / "recserve.yaml"


def _sample(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_social.formats import read_social
    from recserve_social.sample import write_sample

    return SampleSource(write_sample, read_social, CONFIG, Demo("u001", "like", shown=("author", "topics")))


def _social(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_social.formats import read_social

    return FolderSource(read_social, params.path, CONFIG)


def _following(params: FollowingParams, catalogue: Catalogue) -> Any:
    from recserve_social.following import FollowingRetriever

    return FollowingRetriever(params, catalogue)


def _friends(params: FriendsParams, catalogue: Catalogue) -> Any:
    from recserve_social.friends import FriendsRetriever

    return FriendsRetriever(params, catalogue)


def _explainer(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_social.wording import SocialExplainer

    return SocialExplainer()


@hookimpl
def register_datasets() -> Sequence[Component]:
    """A made-up network, and one from files."""
    return [
        Component("social-sample", _sample, summary="300 made-up posts of 60 authors and 150 readers."),
        Component(
            "social",
            _social,
            FolderParams,
            summary="Folder with posts.csv, follows.csv, interactions.csv and, if there, authors.csv.",
        ),
    ]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """Posts of those whom somebody follows, and of those around them."""
    return [
        Component(
            "following",
            _following,
            FollowingParams,
            summary="Posts of the authors that the user follows, newest first.",
        ),
        Component(
            "friends_of_friends",
            _friends,
            FriendsParams,
            summary="Authors near those that the user follows, by shared followers, and their posts.",
        ),
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """Reasons in words of authors and posts."""
    return [Component("social", _explainer, summary="'Because you follow Mira Okafor'")]


__all__ = [
    "FollowingParams",
    "FriendsParams",
    "register_datasets",
    "register_explainers",
    "register_retrievers",
]
