"""Music as a domain plugin: repeat consumption, data sources, and the wording of explanations.

This module is all that is imported until a component is used. One concern a module: ``repeat`` (what is
played again), ``formats`` (files of listening data), ``sample`` (a made-up audience), ``wording``; the
configuration is ``recserve.yaml`` beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from recserve import Catalogue, Component, Demo, FolderParams, FolderSource, SampleSource, hookimpl
from recserve_music.parameters import RepeatParams

CONFIG = Path(__file__).parent / "recserve.yaml"


def _sample(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_music.formats import read_listening
    from recserve_music.sample import write_sample

    return SampleSource(write_sample, read_listening, CONFIG, Demo("u001", "play", shown=("artist", "tags")))


def _listening(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_music.formats import read_listening

    return FolderSource(read_listening, params.path, CONFIG)


def _hetrec(params: FolderParams, catalogue: Catalogue) -> Any:
    from recserve_music.formats import read_hetrec

    return FolderSource(read_hetrec, params.path, CONFIG)


def _repeat(params: RepeatParams, catalogue: Catalogue) -> Any:
    from recserve_music.repeat import RepeatRetriever

    return RepeatRetriever(params, catalogue)


def _explainer(params: BaseModel, catalogue: Catalogue) -> Any:
    from recserve_music.wording import MusicExplainer

    return MusicExplainer()


@hookimpl
def register_datasets() -> Sequence[Component]:
    """A made-up sample, a log of plays, and the listening counts of HetRec 2011."""
    return [
        Component("music-sample", _sample, summary="300 made-up tracks and what 150 listeners played."),
        Component(
            "music", _listening, FolderParams, summary="Folder with tracks.csv and plays.csv, a row a play."
        ),
        Component(
            "hetrec-lastfm", _hetrec, FolderParams, summary="Folder with Last.fm's counts of HetRec 2011."
        ),
    ]


@hookimpl
def register_retrievers() -> Sequence[Component]:
    """What somebody plays often, when it is due again."""
    return [
        Component(
            "repeat",
            _repeat,
            RepeatParams,
            sequential=True,
            summary="The user's own items, by frequency, recency and whether they are due again.",
        )
    ]


@hookimpl
def register_explainers() -> Sequence[Component]:
    """Reasons in words of tracks and listeners."""
    return [Component("music", _explainer, summary="'Because you played Harbour Lights'")]


__all__ = ["RepeatParams", "register_datasets", "register_explainers", "register_retrievers"]
